"""transport/sessions: what is read from a TLS session."""

import ssl
import tracemalloc
from contextlib import suppress

from eps.transport.sessions import RECORD_BYTES, hearing
from eps.transport.tls import client_context, server_context
from support.testing import tls_files

UVLOOP_ASKS_FOR = 256 * 1024


def sessions() -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A client's and a server's, which have shaken hands in memory."""
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(tls_files("hd-1")).wrap_bio(one, other, server_hostname="hd-2")
    server = server_context(tls_files("hd-2")).wrap_bio(other, one, server_side=True)
    for side in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client, server


def test_reading_takes_no_more_memory_than_a_record_has() -> None:
    client, server = sessions()
    client.write(b"x" * 1000)
    tracemalloc.start()
    try:
        assert server.read(UVLOOP_ASKS_FOR) == b"x" * 1000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * RECORD_BYTES


def test_records_are_read_whole_and_into_buffers_as_before() -> None:
    client, server = sessions()
    client.write(b"a" * RECORD_BYTES + b"b" * 10)
    assert server.read(UVLOOP_ASKS_FOR) == b"a" * RECORD_BYTES
    buffer = bytearray(100)
    assert server.read(100, buffer) == 10 and buffer[:10] == b"b" * 10
    client.write(b"abc")
    assert server.read(2) == b"ab" and server.read() == b"c"


def test_whether_anything_came_of_the_other_side() -> None:
    context = client_context(tls_files("hd-1"))
    with hearing() as heard:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="hd-2")
    for came, known in ((b"", False), (b"\x16", True)):
        incoming.write(came)
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        assert heard.anything is known
