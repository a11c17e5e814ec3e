"""Which service directories drop canonical signatures: told at the start, and when one of ours comes back without.

asked what it keeps (``getRules``), where canonical signatures are demanded ─▶ it doesn't say that it keeps them ─▶ told
its last record is ours, and ours has the signature                         ─▶ it shows it without              ─▶ told
"""

from eps.core.instant import Instant
from eps.core.record import SignedRecord
from eps.directory.endpoints import Endpoints
from eps.directory.reports import Reports
from eps.directory.rules import keeps_canonical, lacks_canonical
from eps.errors import DeliveryError, MethodNotFound

ASK_SECONDS = 3.0
"""For ``getRules``, whose answer is a line."""


class SignatureKeeping:
    """What is known of each endpoint; each finding is told once."""

    def __init__(self, endpoints: Endpoints, reports: Reports) -> None:
        self._endpoints = endpoints
        self._reports = reports
        self._asked: set[int] = set()
        self._seen: set[int] = set()

    async def ask(self, index: int, since: Instant) -> None:
        """Ask the endpoint, which has just answered, what it keeps, if that isn't known.

        Args:
            since: from which date on canonical signatures are demanded.
        """
        if index in self._asked:
            return
        try:
            answer = await self._endpoints.ask(index, "getRules", {}, ASK_SECONDS)
        except DeliveryError as error:
            if error.code != MethodNotFound.code:
                return  # at the next answer, again
            answer = None
        self._asked.add(index)
        if not keeps_canonical(answer):
            self._tell(
                index,
                f"does not keep canonical signatures, which require_canonical_signatures demands from "
                f"{since.text} on: of records from then on it is not believed",
            )

    def compare(self, index: int, ours: SignedRecord, shown: object) -> None:
        """``shown`` is what the endpoint now shows of the record ``ours``."""
        if index not in self._seen and ours.signature.canonical is not None and lacks_canonical(shown):
            self._seen.add(index)
            self._tell(index, f"drops canonical signatures: it shows record {ours.hash[:12]} without the one it had")

    def _tell(self, index: int, what: str) -> None:
        self._reports.drops_signatures(self._endpoints.names[index], what)
