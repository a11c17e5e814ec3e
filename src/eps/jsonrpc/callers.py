"""Who may call a JSON-RPC server: asked at every request, decided once for each connection and state of the directory.

A connection may stay open for days. A certificate that the directory no longer pins is refused at its next request.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from eps.core.callers import Known, Refusal, Rules, Shown, needs_directory, refused, refused_by_settings
from eps.core.event import Emit, Level, Notice, Refused
from eps.core.names import Fingerprint, Operator, shown
from eps.errors import NotPermitted
from eps.transport.tls import TlsFiles


class Registry(Protocol):
    """What the directory says of certificates' names."""

    @property
    def state(self) -> object:
        """What was decided holds for as long as this is the same object, or an equal number."""
        ...

    async def known(self, names: Sequence[str]) -> Known | None:
        """The operators among ``names``; None if no directory was ever verified, as far as is known here.

        Raises:
            NotPermitted: nobody can say just now, though there is a directory.
        """
        ...

    def as_of(self) -> str:
        """How old it is, for messages; "" if that isn't known."""
        ...


@dataclass(frozen=True, slots=True)
class Callers:
    """What a server's owner knows of its callers, besides the TLS settings.

    Attributes:
        operator: ours.
        ours: the certificates that our own settings name.
        registry: None: the directory has no say.
    """

    operator: Operator | None = None
    ours: frozenset[Fingerprint] = frozenset()
    registry: Registry | None = None


@dataclass(slots=True)
class Caller:
    """Who is at the other end of one connection; both None and () without a certificate.

    Attributes:
        who: by what it is known from one connection to the next: its certificate, or else its address.
        decided: the last decision, by whom it was made, and the state of the registry for which it holds.
    """

    names: tuple[str, ...] = ()
    fingerprint: Fingerprint | None = None
    who: Hashable = None
    decided: "tuple[Gate, object, Refusal | None] | None" = None

    @property
    def shown(self) -> Shown | None:
        return Shown(self.names, self.fingerprint) if self.fingerprint is not None else None


class Gate:
    """Lets callers in, or not.

    Args:
        name: the server's, for messages.
        emit: told of every refusal; it limits the lines itself.
    """

    def __init__(self, name: str, tls: TlsFiles | None, callers: Callers, emit: Emit) -> None:
        self._name = name
        self._registry = callers.registry if tls is not None else None
        self._emit = emit
        self._rules = _rules(tls, callers)
        self._said = False

    async def check(self, caller: Caller) -> None:
        """Raises:
        NotPermitted: the caller may not call; it is in the log.
        """
        state = self._registry.state if self._registry is not None else None
        if caller.decided is None or caller.decided[0] is not self or caller.decided[1] != state:
            caller.decided = (self, state, await self._decide(caller.shown))
        refusal = caller.decided[2]
        if refusal is not None:
            source = f"a certificate of {shown(caller.names)}" if caller.names else "a caller without a certificate"
            self._emit(Refused(listener=self._name, why=refusal.why, source=source, detail=refusal.detail))
            raise NotPermitted(f"{self._name}: {refusal.text}", hint=refusal.hint)

    async def _decide(self, caller: Shown | None) -> Refusal | None:
        refusal = refused_by_settings(self._rules, caller)
        if refusal is not None or caller is None or not needs_directory(self._rules, caller):
            return refusal
        if self._registry is None:
            return refused(self._rules, caller, {})
        known = await self._registry.known(caller.names)
        if known is None and not self._said:
            self._said = True
            text = f"{self._name}: no directory was verified yet, so tls.allowed_names alone decides who may call"
            self._emit(Notice(text=text, level=Level.WARN))
        return refused(self._rules, caller, known, self._registry.as_of())


def _rules(tls: TlsFiles | None, callers: Callers) -> Rules:
    names = tls.allowed_names if tls is not None else None
    fingerprints = tls.allowed_fingerprints if tls is not None else None
    return Rules(
        names=names,
        fingerprints=frozenset(fingerprints) if fingerprints is not None else None,
        operator=callers.operator,
        ours=callers.ours,
    )
