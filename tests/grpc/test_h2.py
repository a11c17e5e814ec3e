"""What the wire takes for granted of h2 and its kin. A version that moves it fails here first, and says what moved.

Nothing private is used; but not all of this is documented as a promise.
"""

import inspect

import h2.connection
import h2.events
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import (
    FlowControlError,
    NoAvailableStreamIDError,
    ProtocolError,
    StreamClosedError,
    TooManyStreamsError,
)
from h2.settings import SettingCodes
from hyperframe.frame import Frame, SettingsFrame

from eps.grpc import http2, wire
from eps.grpc.guard import MAX_FRAME_BYTES, FrameGuard
from support.grpc_rig import ping, rig


def pair() -> tuple[H2Connection, H2Connection]:
    """A client of h2's own, and our server's h2, after both said their settings."""
    client = H2Connection(H2Configuration(client_side=True))
    server = http2.Http2(H2Configuration(client_side=False))
    client.initiate_connection()
    server.initiate_connection()
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    server.receive_data(client.data_to_send())
    return client, server


HEADERS = [(":method", "POST"), (":scheme", "https"), (":path", "/x"), (":authority", "a")]


async def test_what_we_announce() -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        settings = dict((await raw.until(h2.events.RemoteSettingsChanged)).changed_settings)
        assert settings[SettingCodes.MAX_CONCURRENT_STREAMS].new_value == http2.MAX_STREAMS
        assert settings[SettingCodes.MAX_HEADER_LIST_SIZE].new_value == http2.MAX_HEADER_LIST_BYTES
        assert settings[SettingCodes.INITIAL_WINDOW_SIZE].new_value == wire.STREAM_WINDOW_BYTES
        assert settings[SettingCodes.MAX_FRAME_SIZE].new_value == MAX_FRAME_BYTES
        assert settings[SettingCodes.ENABLE_PUSH].new_value == 0
        while raw.h2.outbound_flow_control_window != wire.CONNECTION_WINDOW_BYTES:
            await raw.until(h2.events.WindowUpdated)
        await raw.close()


def test_h2_forgets_ended_streams_beyond_512() -> None:
    assert http2.Http2.MAX_CLOSED_STREAMS == 512
    assert H2Connection.MAX_CLOSED_STREAMS == 65_536
    client, server = pair()
    for _ in range(600):
        stream = client.get_next_available_stream_id()
        client.send_headers(stream, HEADERS, end_stream=True)
        server.receive_data(client.data_to_send())
        server.send_headers(stream, [(":status", "200")], end_stream=True)
        client.receive_data(server.data_to_send())
    assert server.open_inbound_streams == 0
    assert len(server.streams) == 0
    assert len(server._closed_streams) == 512


def test_h2_limits_the_header_list() -> None:
    client, server = pair()
    assert server.decoder.max_header_list_size == http2.MAX_HEADER_LIST_BYTES
    client.send_headers(1, [*HEADERS, ("x", "y" * http2.MAX_HEADER_LIST_BYTES)])
    with pytest.raises(ProtocolError):
        server.receive_data(client.data_to_send())


@pytest.mark.parametrize("error", [StreamClosedError, TooManyStreamsError, NoAvailableStreamIDError, FlowControlError])
def test_all_of_h2s_errors_that_we_catch_are_protocol_errors(error: type[Exception]) -> None:
    assert issubclass(error, ProtocolError)


def test_what_is_missing_in_a_request_is_a_protocol_error() -> None:
    client, server = pair()
    client.config.validate_outbound_headers = False
    client.send_headers(1, [("te", "trailers")])
    with pytest.raises(ProtocolError):
        server.receive_data(client.data_to_send())


def test_only_goaways_that_h2_sees_close_its_state_machine() -> None:
    """Why GOAWAY frames are kept from it, and why ours are written past it."""
    client, server = pair()
    client.send_headers(1, HEADERS)
    server.receive_data(client.data_to_send())
    client.close_connection()
    server.receive_data(client.data_to_send())
    with pytest.raises(ProtocolError):
        server.send_headers(1, [(":status", "200")])


def test_headers_come_as_bytes() -> None:
    client, server = pair()
    client.send_headers(1, HEADERS)
    received = server.receive_data(client.data_to_send())
    requests = [event for event in received if isinstance(event, h2.events.RequestReceived)]
    assert (b":path", b"/x") in [tuple(header) for header in requests[0].headers]


def test_every_event_is_either_handled_or_known_to_need_nothing() -> None:
    """A new version's new event must be looked at."""
    known = {
        "AlternativeServiceAvailable",
        "ConnectionTerminated",  # GOAWAY: never reaches h2
        "Event",
        "InformationalResponseReceived",
        "PingReceived",
        "PriorityUpdated",
        "PushedStreamReceived",
        "SettingsAcknowledged",
        "UnknownFrameReceived",
        "_HeadersSent",
        "_PushedRequestSent",
        "_RequestSent",
        "_ResponseSent",
        "_TrailersSent",
    }
    handled = {event.__name__ for event in wire._HANDLERS}
    members = inspect.getmembers(h2.events, inspect.isclass)
    events = {name for name, member in members if issubclass(member, h2.events.Event)}
    assert events - handled - known == set()


def test_the_frame_guard_and_hyperframe_agree_on_a_frames_head() -> None:
    data = SettingsFrame(0, settings={3: 7}).serialize()
    frame, length = Frame.parse_frame_header(memoryview(data[:9]))
    assert (type(frame), length + 9) == (SettingsFrame, len(data))
    assert FrameGuard(server=False, clock=lambda: 0.0).feed(data) == [data]


async def test_memory_does_not_grow_with_calls() -> None:
    async with rig() as it:
        connection = await it.connect()
        for number in range(1500):
            await connection.call(ping(str(number)), 10)
        for side in (connection.wire, it.endpoint.connections[0].accepted.wire):
            assert len(side.streams) == 0
            assert len(side.h2.streams) <= 1
            assert len(side.h2._closed_streams) <= 512
            assert not side.blocked
            assert not side.admission.queue
            assert side.admission.taken == 0
            assert set(side.link.timers) <= {"tick", "pulse"}
