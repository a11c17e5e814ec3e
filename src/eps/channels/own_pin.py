"""Whether the directory pins the certificate that we show: a peer that refuses us can't say more than that it does, but
we have the same directory, and our certificate, and can know why.
"""

import asyncio

from eps.core.event import Emit, Level, Notice
from eps.core.names import Fingerprint, Operator
from eps.core.wording import shows
from eps.directory import DirectorySource
from eps.errors import CertificateRefused, Side, Stage, TlsFailed
from eps.reasons import Reason


class OwnPin:
    """Of one server.

    Args:
        name: our operator.
        fingerprints: of the certificates that we show to other operators.
        emit: told when one isn't pinned, and when all are again.

    Attributes:
        fingerprints: as given, or as renewed last.
    """

    def __init__(
        self, name: Operator, source: DirectorySource, fingerprints: frozenset[Fingerprint], emit: Emit
    ) -> None:
        self.name = name
        self._source = source
        self.fingerprints = fingerprints
        self._emit = emit
        self._told: frozenset[Fingerprint] = frozenset()
        self._task: asyncio.Task[None] | None = None

    def unpinned(self, fingerprints: frozenset[Fingerprint]) -> frozenset[Fingerprint]:
        """Those that the directory has no pin for, though it has an entry of ours."""
        entry = self._source.current.entry(self.name)
        return fingerprints - entry.pins if entry is not None else frozenset()

    def would_lose(self, fingerprints: frozenset[Fingerprint]) -> frozenset[Fingerprint]:
        """Those that others would refuse, where they don't refuse what we show now; none if nothing would be lost."""
        now, missing = self.fingerprints, self.unpinned(fingerprints)
        return frozenset() if self.unpinned(now) == now or missing <= now else missing

    def renew(self, fingerprints: frozenset[Fingerprint]) -> None:
        """We show these from now on."""
        before, self.fingerprints = self.fingerprints, fingerprints
        if fingerprints != before:
            self._tell_shown()
        self._tell()

    def explained(self, error: TlsFailed) -> TlsFailed:
        """The same error, with the cause if that is ours: a certificate that the directory does not pin."""
        missing = self.unpinned(self.fingerprints)
        if not missing or not isinstance(error, CertificateRefused):
            return error
        return CertificateRefused(
            f"{error.message}: {self._text(missing)}", hint=HINT, side=Side.OURS, reason=Reason.OWN_PIN
        )

    async def start(self) -> None:
        """Tell what we show; then what is missing now, and whenever the directory has changed."""
        self._tell_shown()
        self._task = asyncio.create_task(self._watch(), name="own pin")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        seen = self._source.current
        while True:
            self._tell()
            seen = await self._source.changed(seen)

    def _tell_shown(self) -> None:
        if self.fingerprints:
            self._emit(Notice(text=shows(self.name, "other operators", self.fingerprints)))

    def _tell(self) -> None:
        missing = self.unpinned(self.fingerprints)
        if missing == self._told:
            return
        self._told = missing
        if missing:
            text = f"other operators refuse our certificate: {self._text(missing)}"
            self._emit(
                Notice(
                    level=Level.ERROR,
                    text=text,
                    hint=HINT,
                    reason=Reason.OWN_PIN.value,
                    stage=Stage.TLS.value,
                    side=Side.OURS.value,
                )
            )
        else:
            self._emit(Notice(text="the directory pins our certificate now"))

    def _text(self, missing: frozenset[Fingerprint]) -> str:
        prints = " and ".join(sorted(missing))
        as_of = self._source.as_of()
        return f"the directory does not pin {prints} for {self.name}" + (f"; {as_of}" if as_of else "")


HINT = "submit its fingerprint in the section certificates of our entry, or have the settings name the pinned file"
"""What to do about a certificate of ours that the directory does not pin."""
