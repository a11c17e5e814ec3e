"""What an EPS server's directory says of the certificates at its JSON-RPC port: a ``jsonrpc.callers.Registry``."""

from collections.abc import Sequence

from eps.core.callers import Known, Listed
from eps.core.entries import Directory
from eps.directory import DirectorySource
from eps.errors import NotPermitted


class DirectoryRegistry:
    """Names are known from what was verified last, pins from what may be used of it.

    So a directory that is too old to be used lets no operator in whom it knows; nor does it turn into none at all.
    """

    def __init__(self, source: DirectorySource) -> None:
        self._source = source
        self._state = _State(source.verified, source.current)

    @property
    def state(self) -> object:
        verified, current = self._source.verified, self._source.current
        if self._state.verified is not verified or self._state.current is not current:
            self._state = _State(verified, current)
        return self._state

    def as_of(self) -> str:
        return self._source.too_old() or self._source.as_of()

    async def known(self, names: Sequence[str]) -> Known | None:
        """See :class:`eps.jsonrpc.callers.Registry`; waits while what was verified before the start is still read."""
        if not await self._source.loaded():
            raise NotPermitted("the directory is still being read", hint="try again in a few seconds")
        if not self._source.verified.entries:
            await self._source.refresh()  # as the broker will: what it gets must not come too late for this decision
        verified, current = self._source.verified, self._source.current
        if not verified.entries:
            return None
        entries = [entry for entry in map(verified.entry, names) if entry is not None]
        return {entry.name: Listed(entry.certificates, current.pins(entry.name)) for entry in entries}


class _State:
    """Equal to itself alone: two directories are never compared entry by entry."""

    def __init__(self, verified: Directory, current: Directory) -> None:
        self.verified = verified
        self.current = current
