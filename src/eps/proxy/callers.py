"""What the directory says of the certificates at a proxy's JSON-RPC port: a ``jsonrpc.callers.Registry``.

A proxy has no directory. Its EPS server has one, and says with ``_directory`` what it pins for a name:

    asked within the last second ─▶ that answer
    else                         ─▶ asked again ─▶ the new answer
                                                └▶ it can't be asked: the last answer, and no question for a while

While the EPS server has never answered, nobody knows of a directory, and the settings alone decide. Once it has, a
name that it was never asked about is refused while it can't be.
"""

import asyncio
from collections.abc import Callable, Sequence

from eps.core.callers import Known, Listed
from eps.core.event import Emit, Level, Notice
from eps.core.exact import is_fingerprint, is_operator
from eps.core.message import Response
from eps.core.names import Fingerprint, Operator
from eps.core.recent import Recent
from eps.core.sections import PinnedCertificate
from eps.errors import DeliveryError, EpsError, NotPermitted
from eps.proxy.public import CallNetwork

FRESH_SECONDS = 1.0
"""How long an answer counts as the present one. A question takes some 2 ms, and callers are mostly our EPS server with
a certificate of ours, of which nothing is asked."""

ASK_SECONDS = 2.0
"""For all questions about one certificate; the EPS server answers them itself, mostly on the same machine."""

RETRY_SECONDS = 5.0
"""After a question without an answer: so long the last answers hold, and no caller waits for another failure."""

MAX_NAMES = 20
"""Of one certificate that are asked about. Operators' certificates carry one or two that an operator may have."""

MAX_REMEMBERED = 1_000
"""Names whose answers are kept, some 300 bytes each."""


class ProxyRegistry:
    """See :class:`eps.jsonrpc.callers.Registry`.

    Args:
        name: our operator.
        call_network: calls through our EPS server.
        clock: seconds that don't run backwards.
        emit: told once when it can't be asked, and when it can again.
    """

    def __init__(self, name: Operator, call_network: CallNetwork, clock: Callable[[], float], emit: Emit) -> None:
        self._name = name
        self._call_network = call_network
        self._clock = clock
        self._emit = emit
        self._answers: Recent[str, tuple[float, Listed | None]] = Recent(MAX_REMEMBERED)
        self._asking = asyncio.Lock()
        self._failed: float | None = None
        self._ever_answered = False

    @property
    def state(self) -> object:
        """A number for each span in which answers are the same."""
        return int(self._clock() / FRESH_SECONDS)

    def as_of(self) -> str:
        """Nobody tells a proxy."""
        return ""

    async def known(self, names: Sequence[str]) -> Known | None:
        wanted = [name for name in dict.fromkeys(names) if is_operator(name)]
        if len(wanted) > MAX_NAMES:
            raise NotPermitted(
                f"your certificate carries {len(wanted)} names that operators may have; {MAX_NAMES} are looked up",
                hint="call with a certificate of fewer names",
            )
        async with self._asking:
            await self._refresh(wanted)
        if not self._ever_answered:
            return None
        answers = {name: self._answers.get(name) for name in wanted}
        if None in answers.values():
            raise NotPermitted(
                "which certificates the directory pins can't be asked of our EPS server just now",
                hint="try again in a few seconds; the log of this proxy says what is wrong",
            )
        return {name: answer[1] for name, answer in answers.items() if answer is not None and answer[1] is not None}

    async def _refresh(self, names: Sequence[str]) -> None:
        """Ask about those whose answers are old, unless that has just failed."""
        now = self._clock()
        if self._failed is not None and now - self._failed < RETRY_SECONDS:
            return
        old = [name for name in names if self._is_old(name, now)]
        try:
            async with asyncio.timeout(ASK_SECONDS):
                for name in old:
                    self._answers.put(name, (now, _listed(await self._ask(name), name)))
                    self._ever_answered = True
        except (EpsError, TimeoutError) as error:
            self._fails(error.message if isinstance(error, EpsError) else f"no answer within {ASK_SECONDS:g} s")
        else:
            if old:
                self._works()

    def _is_old(self, name: str, now: float) -> bool:
        known = self._answers.get(name)
        return known is None or now - known[0] >= FRESH_SECONDS

    async def _ask(self, name: str) -> Response:
        answer = await self._call_network(f"{self._name}._directory", {"operator": name}, ASK_SECONDS)
        if answer.error is not None:
            raise DeliveryError(f"it answers with error {answer.error.code}; its log says why")
        return answer

    def _fails(self, reason: str) -> None:
        if self._failed is None:
            text = f"the EPS server of {self._name} can't be asked which certificates the directory pins: {reason}"
            holds = "what it said last holds" if self._ever_answered else "until then, tls.allowed_names alone decides"
            self._emit(Notice(text=text, hint=f"{holds}; it is asked again", level=Level.WARN))
        self._failed = self._clock()

    def _works(self) -> None:
        if self._failed is not None:
            self._failed = None
            self._emit(Notice(text=f"the EPS server of {self._name} says again which certificates the directory pins"))


def _listed(answer: Response, name: str) -> Listed | None:
    """What an answer to ``_directory`` says of the operator; None: there is no such operator.

    Raises:
        DeliveryError: it is no answer to that.
    """
    entries = answer.result.get("entries") if isinstance(answer.result, dict) else None
    if not isinstance(entries, list):
        raise DeliveryError("its answer to _directory has no list of entries")
    found = [entry for entry in entries if isinstance(entry, dict) and entry.get("name") == name]
    if not found:
        return None
    given = found[0].get("certificates")
    certificates = tuple(
        PinnedCertificate(Fingerprint(item["fingerprint"]), item["key_usage"])
        for item in (given if isinstance(given, list) else ())
        if _is_certificate(item)
    )
    return Listed(certificates, frozenset(c.fingerprint for c in certificates if c.key_usage == "encryption"))


def _is_certificate(item: object) -> bool:
    if not isinstance(item, dict):
        return False
    mark, usage = item.get("fingerprint"), item.get("key_usage")
    return isinstance(mark, str) and is_fingerprint(mark) and isinstance(usage, str)
