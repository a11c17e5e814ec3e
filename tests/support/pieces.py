"""A connection in memory, for tests of what is read from it and written to it."""

from eps.http1.channel import Channel


class Pieces(Channel):
    """A channel without a transport: what it reads is given, what it writes is kept."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__()
        self.pieces = list(pieces)
        self.written = b""

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def write(self, data: bytes) -> None:
        self.written += data
