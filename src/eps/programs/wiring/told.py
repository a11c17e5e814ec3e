"""What an EPS server tells of its directory and its streams: to commands, and to who asks whether it is ready. Pure."""

from collections.abc import Iterator, Mapping
from itertools import islice

from eps.channels.held_streams import Unheld
from eps.core.names import Object, Operator
from eps.core.removal import is_removed
from eps.directory import DirectorySource
from eps.programs.running.control import fitting
from eps.programs.running.health import Part
from eps.programs.running.status import MAX_STREAMS, MAX_TEXT
from eps.reasons import Reason

Streams = Mapping[Operator, Unheld | None]
"""Why there is no stream to each of those whom we should hold one to; None where there is one."""


def streams_told(streams: Streams) -> Object:
    """For our administrator: why each is not up, whose that is, and what to do; nothing of those that are."""
    return {name: {} if why is None else _unheld(why) for name, why in islice(streams.items(), MAX_STREAMS)}


def _unheld(why: Unheld) -> Object:
    words = {"why": fitting(why.text, MAX_TEXT), "fix": fitting(why.hint, MAX_TEXT)}
    return words | {"side": why.side or "", "reason": why.reason or ""}


def health_of(own: Operator, source: DirectorySource, streams: Streams) -> Iterator[Part]:
    """The directory, without which no call passes, and the streams, which decide nothing."""
    yield Part("directory", _directory(own, source))
    for peer, why in islice(streams.items(), MAX_STREAMS):
        yield Part(f"stream to {peer}", "" if why is None else why.reason or "it is being opened", is_needed=False)


def _directory(own: Operator, source: DirectorySource) -> str:
    known = source.current
    entry = known.entry(own)
    if entry is not None and not is_removed(entry):
        return ""
    if source.too_old():
        return Reason.DIRECTORY_TOO_OLD
    if known.entries:
        return f"{Reason.OWN_ENTRY}: {own} is not in it"
    failing = source.failing()
    return f"{failing.reason if failing is not None else Reason.NO_DIRECTORY}: none is known yet"
