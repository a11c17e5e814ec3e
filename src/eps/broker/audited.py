"""A call whose line goes into the audit log: what of it is covered, and under which key.

The hashes are made when params and answer are at hand: on the loop where they hold little, else beside it, since
nothing of either is kept for the log. Whoever has no audit log has none of this.
"""

import hmac
import secrets
from collections.abc import Awaitable
from typing import Protocol

import orjson

from eps.core.audit import SALT_BYTES, LineKeys, answered, asked, key_mark, mac
from eps.core.event import CallFinished
from eps.core.json_pieces import FEW_VALUES
from eps.core.message import Response
from eps.core.names import Object
from eps.core.quick_canonical import ForAThread, Holds, at_once, canonical_pieces, holds, quick_canonical
from eps.transport.aside import aside

UNWRITABLE = (orjson.JSONEncodeError, ValueError, OverflowError, RecursionError)
"""What is no JSON fails with one of these."""


class AuditedCall:
    """A call that is under way.

    Args:
        keys: make the line's key.

    Attributes:
        salt: of the line, in hex.
        macs: what is covered, ``params``, ``result``, ``error``, and its HMAC; and the key's mark.
    """

    __slots__ = ("_key", "macs", "salt")

    def __init__(self, keys: LineKeys) -> None:
        salt = secrets.token_bytes(SALT_BYTES)
        self.salt = salt.hex()
        self._key = keys.of(salt)
        self.macs: dict[str, str] = {"key": key_mark(self._key)}

    def asked(self, params: Object) -> Awaitable[None] | None:
        """Cover its params; what is left to be waited for, if they hold much."""
        return self._cover("params", asked(params))

    def answered(self, response: Response) -> Awaitable[None] | None:
        """Cover what it was answered with, likewise."""
        covered = answered(response)
        return self._cover("result" if "result" in covered else "error", covered)

    def _cover(self, kind: str, covered: Object) -> Awaitable[None] | None:
        inside = holds(covered, FEW_VALUES)
        if inside is Holds.MUCH:
            return self._cover_beside(kind, covered)
        try:
            self.macs[kind] = mac(self._key, at_once(covered, inside))
        except ForAThread:
            return self._cover_beside(kind, covered)
        return None

    async def _cover_beside(self, kind: str, covered: Object) -> None:
        found = await aside(self._mac_of_much, covered)
        if found:
            self.macs[kind] = found

    def _mac_of_much(self, covered: Object) -> str:
        """In the thread; "" of what is no JSON in UTF-8: it can't travel, and the line says nothing of it."""
        inside = holds(covered)
        made = hmac.new(self._key, digestmod="sha256")
        try:
            for piece in canonical_pieces(covered) if inside is Holds.MUCH else (quick_canonical(covered, inside),):
                made.update(piece)
        except UNWRITABLE:
            return ""
        return made.hexdigest()


class Audit(Protocol):
    """The audit log, as the broker sees it; neither method waits for anything."""

    def begin(self) -> AuditedCall:
        """A call comes; raises ``errors.NotSent`` where its line could not be written, and it is to be refused then."""
        ...

    def ended(self, call: AuditedCall, event: CallFinished, call_id: str) -> None:
        """It has ended: write its line. Each call that began ends once."""
        ...
