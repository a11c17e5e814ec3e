"""h2, set up for us: what we announce, what it remembers, and what it must not log."""

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from eps.grpc.header_blocks import RememberingDecoder, RememberingEncoder

MAX_STREAMS = 1_000
"""What we tell peers (SETTINGS_MAX_CONCURRENT_STREAMS); h2's 100 is less than our own broker sends at busy times."""

MAX_HEADER_LIST_BYTES = 16_384
"""Twice what gRPC peers accept from us; ids and names travel in messages, not in headers."""

HEADER_TABLE_BYTES = 4_096
"""HPACK's default table for what we send. A peer may offer more; h2 would take any amount."""


class Http2(H2Connection):
    """h2 with smaller memories."""

    DEFAULT_MAX_HEADER_LIST_SIZE = MAX_HEADER_LIST_BYTES
    MAX_CLOSED_STREAMS = 512  # of how streams ended, for frames that cross; 65,536 by default, for each connection


class _Silent:
    """A logger for h2, which calls one a dozen times per frame: the standard one costs a tenth of all our time."""

    def debug(self, *_args: object) -> None:
        pass

    def trace(self, *_args: object) -> None:
        pass


def http2(*, client: bool) -> Http2:
    """A connection that has said nothing yet."""
    config = H2Configuration(
        client_side=client,
        header_encoding=None,  # bytes, which can't fail to decode
        validate_outbound_headers=False,  # they are our own, and right
        normalize_outbound_headers=False,
        logger=_Silent(),  # type: ignore[arg-type]  # has what h2 calls of a logger, which is all that its docs ask for
    )
    connection = Http2(config)
    connection.encoder, connection.decoder = RememberingEncoder(), RememberingDecoder()
    connection.decoder.max_header_list_size = MAX_HEADER_LIST_BYTES
    connection.local_settings = Settings(
        client=client,
        initial_values={
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
        },
    )
    return connection


_GONE = http2(client=False)


def forgotten(connection: Http2) -> Http2:
    """What stands in the place of a connection that nobody uses any more: a last flush finds nothing in it.

    h2's tables hold methods of its own, so itself, and would keep all until somebody looks for cycles.
    """
    vars(connection).clear()
    return _GONE
