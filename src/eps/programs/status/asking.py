"""A running server's value, over its control socket: in pieces, each when the last one was taken."""

import json
from pathlib import Path

from eps.core.names import Object
from eps.errors import StartError
from eps.programs.running.control import Session, ask, heard
from eps.programs.running.standing import Standing

STANDING = "standing"
"""The command."""

PIECE_CHARS = 30_000
"""Of JSON in ASCII: as text in a packet it takes twice as many at the most."""

MAX_PIECES = 100
"""Far more than any value has: who tells without end is not heard."""

TELL_SECONDS = 5.0
"""For a piece: a server that takes longer hangs."""


class Telling:
    """A ``control.Handler``."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    async def __call__(self, session: Session, _: Object) -> None:
        text = json.dumps(self._standing.value())
        for begin in range(0, len(text), PIECE_CHARS):
            session.send({"piece": text[begin : begin + PIECE_CHARS]})
            await session.receive(TELL_SECONDS)  # it was taken
        session.send({"end": True})


async def asked(folder: Path, socket: str) -> Object | None:
    """The value of the server with that state folder; None if none runs.

    Raises:
        StartError: it does not tell.
    """
    session = ask(folder, socket, {"command": STANDING})
    if session is None:
        return None
    pieces: list[str] = []

    def take(message: Object) -> int:
        pieces.append(str(message.get("piece", "")))
        session.send({"more": True})
        return len(pieces)

    await heard(session, take, "the running server does not tell how it is", most=MAX_PIECES, seconds=TELL_SECONDS)
    return _read("".join(pieces))


def _read(text: str) -> Object:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise StartError("the running server tells what can't be read", hint="is it of another version? Restart it")
    return value
