"""The client against a server that does what a test says: raw h2, no code of ours on the other side."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h2.events as h2e
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from eps.core.names import Operator
from eps.errors import DeliveryError, NotSent, OutcomeUnknown, Stage, TlsFailed, Unreachable
from eps.grpc import eps_pb2 as pb
from eps.grpc.connection import ClientConnection
from eps.grpc.link import Link
from eps.grpc.pulse import PulseLimits
from eps.pki import Authority
from eps.transport.tls import TlsFiles, client_context
from support.grpc_rig import HD_2, Raw, against, closed_socket, ping, pins, prefixed, rig, soon, struct, wire_limits
from support.testing import certificates, socket_pair, tls_files

ANSWER = pb.Response(id="hd-2._ping(1)", result=struct(x=1))


def goaway(last: int, code: int = 0, text: bytes = b"") -> bytes:
    return GoAwayFrame(0, last_stream_id=last, error_code=code, additional_data=text).serialize()


async def until_gone(raw: Raw) -> None:
    """Read until the client ends the connection."""
    await raw.goaway()


async def request(raw: Raw) -> int:
    """The id of the next stream whose request is complete."""
    return (await raw.until(h2e.StreamEnded)).stream_id


# -- opening


async def open_to(name: str, operator: str = "hd-2", **options: object) -> ClientConnection:
    """Dial ``operator``, while ``name`` answers there."""

    async def script(raw: Raw) -> None:
        await raw.start()
        await until_gone(raw)

    async with against(script, name=name, operator=operator, **options) as connection:
        return connection


async def test_another_operators_certificate_is_refused_though_pinned() -> None:
    skip = client_context(tls_files("hd-1", insecure_skip_verify=True), ["h2"])
    async with rig() as it:
        with pytest.raises(TlsFailed, match="does not carry the name that we dialled"):
            await it.connect(operator="hd-1")
        with pytest.raises(
            TlsFailed, match="hd-1 is not who answers there: the certificate is pinned for hd-2"
        ) as caught:
            await it.connect(operator="hd-1", context=skip)
        assert caught.value.stage is Stage.TLS
        assert (await it.connect(context=skip)).usable


async def test_a_certificate_that_is_not_pinned_is_refused() -> None:
    with pytest.raises(TlsFailed, match=r"hd-2 is not who answers there: the directory pins certificate [0-9a-f]{64} "):
        await open_to("hd-2-alt")
    with pytest.raises(TlsFailed, match="for none of its names"):
        await open_to("hd-2", client_pins=lambda _name: frozenset())


async def test_nothing_is_written_to_a_peer_whose_pin_does_not_fit() -> None:
    received: list[bytes] = []

    async def script(raw: Raw) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            received.append(await soon(raw.reader.read(100)))

    with pytest.raises(TlsFailed):
        async with against(script, client_pins=lambda _name: frozenset()):
            pass
    assert not any(received)


async def test_an_unknown_authority_and_an_expired_certificate(tmp_path: Path) -> None:
    foreign = Authority.create(fast=True)
    issued = foreign.issue_tls("hd-1")
    certificate, key = issued.write(tmp_path, "hd-1")
    (tmp_path / "root").write_bytes(foreign.root_pem)
    stranger = client_context(TlsFiles((str(tmp_path / "root"),), str(certificate), str(key)), ["h2"])
    async with rig() as it:
        with pytest.raises(TlsFailed, match="no TLS connection with hd-2: its c"):
            await it.connect(context=stranger)

    past = datetime.now(UTC) - timedelta(days=10)
    old = certificates().authority.issue_tls("hd-2", not_before=past, not_after=past + timedelta(days=1))
    old.write(certificates().folder, "hd-2-old")
    near, far = socket_pair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates().folder / "hd-2-old.crt", certificates().folder / "hd-2-old.key")
    serving = asyncio.create_task(
        asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, far, ssl=server)  # fails at the alert
    )
    with pytest.raises(TlsFailed, match="its certificate has expired"):
        await ClientConnection.open(
            near, operator=HD_2, context=client_context(tls_files("hd-1"), ["h2"]), pins=pins(), timeout=5
        )
    await asyncio.gather(serving, return_exceptions=True)


async def test_a_refused_client_certificate_is_said_plainly() -> None:
    async with rig(server_pins=certificates().pins("hd-2")) as it:
        with pytest.raises(TlsFailed) as caught:
            await it.connect()
        assert (
            "hd-2 closed the connection right after the TLS handshake; it most likely refused our certificate"
            in str(caught.value)
        )
        assert "submit its fingerprint" in caught.value.hint


async def test_a_server_that_does_not_know_our_authority(tmp_path: Path) -> None:
    foreign = Authority.create(fast=True)
    certificate, key = foreign.issue_tls("hd-1").write(tmp_path, "hd-1")
    stranger = client_context(TlsFiles((str(certificates().root_file),), str(certificate), str(key)), ["h2"])
    async with rig() as it:
        with pytest.raises(
            TlsFailed, match=r"hd-2 (refused the connection: it doesn't know the authority|closed the conn)"
        ):
            await it.connect(context=stranger)


async def test_a_server_that_speaks_something_else() -> None:
    context = client_context(tls_files("hd-1"), ["http/1.1"])
    async with rig(alpn=["http/1.1"]) as it:
        with pytest.raises(TlsFailed, match=r"hd-2 speaks http/1\.1, not gRPC"):
            await it.connect(context=context)


async def test_a_server_without_alpn_is_accepted() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        raw.respond(await request(raw), ANSWER)
        await raw.flush()
        await until_gone(raw)

    async with against(script, alpn=[]) as connection:
        assert await connection.call(ping(), 5) == ANSWER


async def test_silence_instead_of_a_handshake() -> None:
    near, far = socket_pair()
    with pytest.raises(Unreachable, match=r"hd-2 did not finish the TLS handshake within 0\.1 s") as caught:
        await ClientConnection.open(
            near, operator=HD_2, context=client_context(tls_files("hd-1"), ["h2"]), pins=pins(), timeout=0.1
        )
    assert caught.value.stage is Stage.TLS
    far.close()


async def test_silence_instead_of_settings() -> None:
    with pytest.raises(Unreachable, match="hd-2 sent no HTTP/2 settings within"):
        async with against(until_gone, limits=wire_limits(settings_timeout=0.3)):
            pass


async def test_a_closed_connection_instead_of_a_handshake() -> None:
    with pytest.raises((Unreachable, TlsFailed), match="hd-2"):
        await ClientConnection.open(
            closed_socket(), operator=HD_2, context=client_context(tls_files("hd-1"), ["h2"]), pins=pins(), timeout=5
        )


async def test_opening_is_cancelled_also_in_the_turn_in_which_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    came_up = Link.came_up

    def and_cancelled(link: Link) -> None:
        came_up(link)
        if link.peer_name == "hd-2":  # not the server's side
            opening.cancel()

    monkeypatch.setattr(Link, "came_up", and_cancelled)
    async with rig() as it:
        opening = asyncio.create_task(it.connect())
        with pytest.raises(asyncio.CancelledError):
            await soon(opening)


async def test_opening_can_be_cancelled_at_every_stage() -> None:
    for script in (None, until_gone):
        near, far = socket_pair()
        before = len(os.listdir("/proc/self/fd"))
        opening = asyncio.create_task(
            ClientConnection.open(
                near, operator=HD_2, context=client_context(tls_files("hd-1"), ["h2"]), pins=pins(), timeout=30
            )
        )
        if script is not None:
            async with rig(alpn=[]) as it:
                accepting = asyncio.create_task(it.endpoint.accept(far))
                await asyncio.sleep(0)
                opening.cancel()
                await asyncio.gather(accepting, return_exceptions=True)
        else:
            await asyncio.sleep(0)
            opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        far.close()
        del near
        assert len(os.listdir("/proc/self/fd")) <= before + 4  # the loop's own


@pytest.mark.parametrize("name", ["a..b", ".a", "x" * 64 + ".y", "a\0b"])
async def test_a_name_that_no_tls_server_can_have_is_refused_and_the_socket_closed(name: str) -> None:
    near, far = socket_pair()
    context = client_context(tls_files("hd-1"), ["h2"])
    with far, pytest.raises(TlsFailed, match="can't be the name of a TLS server"):
        await ClientConnection.open(near, operator=Operator(name), context=context, pins=pins(), timeout=5)
    assert near.fileno() == -1


# -- not sent, unknown, failed


async def test_refused_stream_was_not_sent() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        raw.h2.reset_stream(await request(raw), ErrorCodes.REFUSED_STREAM)
        await raw.flush()
        raw.respond(await request(raw), ANSWER)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(NotSent, match="REFUSED_STREAM"):
            await connection.call(ping(), 5)
        assert connection.usable
        assert await connection.call(ping(), 5) == ANSWER


@pytest.mark.parametrize("how", ["reset", "goaway"])
async def test_who_has_begun_to_answer_cannot_say_that_the_call_was_not_processed(how: str) -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        stream_id = await request(raw)
        raw.h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        if how == "reset":
            raw.h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
        await raw.flush(goaway(0) if how == "goaway" else b"")
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(OutcomeUnknown):
            await connection.call(ping(), 5)


@pytest.mark.parametrize("code", [ErrorCodes.INTERNAL_ERROR, ErrorCodes.CANCEL, ErrorCodes.NO_ERROR, 4711])
async def test_a_reset_in_flight_is_an_unknown_outcome(code: int) -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        raw.h2.reset_stream(await request(raw), code)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(OutcomeUnknown, match=r"hd-2 broke off the stream .* before the answer came") as caught:
            await connection.call(ping(), 5)
        assert caught.value.outcome == "unknown"
        assert connection.usable


async def test_a_goaway_below_the_stream_was_not_sent_and_those_above_finish() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        first, _second = await request(raw), await request(raw)
        await raw.flush(goaway(first))
        await raw.flush(goaway(first))  # peers may repeat it
        raw.respond(first, ANSWER)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        calls = [asyncio.create_task(connection.call(ping(), 5)) for _ in range(2)]
        answered, refused = await asyncio.gather(*calls, return_exceptions=True)
        assert answered == ANSWER
        assert isinstance(refused, NotSent)
        assert not isinstance(refused, OutcomeUnknown)
        assert not connection.usable
        with pytest.raises(NotSent, match="GOAWAY NO_ERROR"):
            await connection.call(ping(), 5)
        assert "GOAWAY NO_ERROR" in await soon(connection.closed)  # by itself, when the last call is over


async def test_a_graceful_goaway_in_two_steps() -> None:
    """As gRPC's own servers do it: first the greatest id, a ping, then the real one."""

    async def script(raw: Raw) -> None:
        await raw.start()
        stream = await request(raw)
        await raw.flush(goaway(2**31 - 1))
        raw.h2.ping(b"12345678")
        await raw.flush()
        await raw.until(h2e.PingAckReceived)
        await raw.flush(goaway(stream))
        raw.respond(stream, ANSWER)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        assert await connection.call(ping(), 5) == ANSWER
        await soon(connection.closed)


async def test_a_goaway_with_an_error_ends_calls_soon_with_its_text() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        stream = await request(raw)
        await raw.flush(goaway(stream, ErrorCodes.ENHANCE_YOUR_CALM, b"too_many_pings"))
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(OutcomeUnknown, match="GOAWAY ENHANCE_YOUR_CALM: too_many_pings"):
            await connection.call(ping(), 5)


async def test_a_lost_connection_is_an_unknown_outcome() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        await request(raw)

    async with against(script) as connection:
        with pytest.raises(OutcomeUnknown, match="hd-2"):
            await connection.call(ping(), 5)
        await soon(connection.closed)


@pytest.mark.parametrize("goodbye", [b"", goaway(1)], ids=["cut", "after a goodbye"])
async def test_an_end_that_the_event_loop_has_not_seen_is_noticed_before_anything_is_sent(goodbye: bytes) -> None:
    raws: list[Raw] = []

    async def script(raw: Raw) -> None:
        raws.append(await raw.start())
        raw.respond(await request(raw), ANSWER)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        assert (await connection.call(ping(), 5)).id == ANSWER.id
        if goodbye:
            await raws[0].flush(goodbye)
        with socket.socket(fileno=os.dup(raws[0].writer.get_extra_info("socket").fileno())) as theirs:
            theirs.shutdown(socket.SHUT_RDWR)
        with pytest.raises(NotSent, match="the connection was over: hd-2 closed the connection"):
            await connection.call(ping(), 5)
        assert not connection.usable
        await soon(connection.closed)
        assert connection.was_cut is not bool(goodbye), "a goodbye may have come with the end"


async def test_no_answer_in_time_is_an_unknown_outcome_and_the_stream_is_reset() -> None:
    reset = asyncio.get_running_loop().create_future()

    async def script(raw: Raw) -> None:
        await raw.start()
        received = await raw.until(h2e.RequestReceived)
        assert ("grpc-timeout", "100m") in received.headers
        reset.set_result((await raw.until(h2e.StreamReset)).error_code)
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(OutcomeUnknown, match=r"hd-2 did not answer within 0\.1 s"):
            await connection.call(ping(), 0.1)
        assert await soon(reset) == ErrorCodes.CANCEL
        assert connection.usable


@pytest.mark.parametrize(
    ("status", "kind"),
    [(2, DeliveryError), (12, DeliveryError), (14, OutcomeUnknown), (4, OutcomeUnknown), (1, OutcomeUnknown)],
)
async def test_a_status_is_the_peers_answer(status: int, kind: type[DeliveryError]) -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        raw.respond(await request(raw), None, status, "no such %C3%BC")
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(kind, match=r"hd-2 answered [A-Z_]+: no such ü") as caught:
            await connection.call(ping(), 5)
        assert type(caught.value) is kind
        assert connection.usable


async def test_what_a_peer_says_with_a_status_is_short_and_forges_no_line() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        raw.respond(await request(raw), None, 2, "x%1B[2J%0A" + "y" * 1000)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(DeliveryError) as caught:
            await connection.call(ping(), 5)
        assert caught.value.message.startswith("hd-2 answered UNKNOWN: x\\x1b[2J\\nyyy")
        assert caught.value.message.isprintable() and len(caught.value.message) < 350


async def test_a_status_may_come_before_the_request_is_read() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        stream = (await raw.until(h2e.RequestReceived)).stream_id
        headers = [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "8"),
            ("grpc-message", "full"),
        ]
        raw.h2.send_headers(stream, headers, end_stream=True)
        raw.h2.reset_stream(stream, ErrorCodes.NO_ERROR)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(DeliveryError, match="RESOURCE_EXHAUSTED: full"):
            await connection.call(ping(x="y" * 3_000_000), 5)


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ([(":status", "502"), ("content-type", "text/html")], "did not answer with gRPC .HTTP status 502, text/html"),
        ([(":status", "200")], "no content type"),
        ([(":status", "415"), ("grpc-message", "odd")], "415.*: odd"),
        ([(":status", "200"), ("content-type", "application/grpc")], "the answer carries no gRPC status"),
        ([(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "0")], "without a message"),
    ],
)
async def test_what_is_no_grpc_answer(headers: list[tuple[str, str]], told: str) -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        raw.h2.send_headers(await request(raw), headers, end_stream=True)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(DeliveryError, match=told):
            await connection.call(ping(), 5)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\0" + (4_194_305).to_bytes(4, "big"), "the answer of hd-2 was refused: the message has 4,194,305 bytes"),
        (b"\1\0\0\0\1x", "the answer of hd-2 was refused: the message is compressed"),
        (prefixed(b"\xff\xff"), "a message that can't be read"),
        (prefixed(b"") * 2, "several messages"),
    ],
)
async def test_answers_that_are_refused(data: bytes, told: str) -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        stream = await request(raw)
        raw.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        raw.h2.send_data(stream, data)
        raw.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(DeliveryError, match=told) as caught:
            await connection.call(ping(), 5)
        assert caught.value.outcome == "failed"
        assert connection.usable


async def test_an_answer_that_breaks_off_amid_a_message() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        stream = await request(raw)
        raw.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        raw.h2.send_data(stream, b"\0\0\0\0\x09abc", end_stream=True)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(OutcomeUnknown, match="ended the stream amid a message"):
            await connection.call(ping(), 5)


# -- reverse streams


async def test_a_foreign_servers_metadata_comes_with_its_first_request() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        received = await raw.until(h2e.RequestReceived)
        assert ("eps-streams", "unordered") in received.headers
        await raw.until(h2e.DataReceived)
        raw.h2.send_headers(received.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        raw.h2.send_data(received.stream_id, prefixed(ping().SerializeToString()))
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection, connection.open_stream() as stream:
        metadata = asyncio.create_task(stream.server_metadata())
        await asyncio.sleep(0)
        assert not metadata.done()
        await stream.send(pb.Response(id="1"))
        assert await soon(stream.recv()) == ping()
        assert await soon(metadata) == {}


async def test_a_stream_that_ends_without_headers() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        raw.h2.reset_stream((await raw.until(h2e.RequestReceived)).stream_id, ErrorCodes.INTERNAL_ERROR)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection, connection.open_stream() as stream:
        with pytest.raises(NotSent, match="INTERNAL_ERROR"):
            await stream.server_metadata()
        assert await stream.recv() is None
        assert "INTERNAL_ERROR" in stream.reason


async def test_a_request_that_cannot_be_read_ends_the_stream() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        stream = (await raw.until(h2e.RequestReceived)).stream_id
        raw.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        raw.h2.send_data(stream, prefixed(b"\xff\xff"))
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        async with connection.open_stream() as stream:
            assert await soon(stream.recv()) is None
            assert stream.reason == "hd-2 sent a request that can't be read"
        assert connection.usable


async def test_a_goaway_lets_streams_live_until_the_peer_ends_them() -> None:
    said = asyncio.Event()

    async def script(raw: Raw) -> None:
        await raw.start()
        stream = (await raw.until(h2e.RequestReceived)).stream_id
        await raw.flush(goaway(stream))
        await soon(said.wait())
        raw.respond(stream, None, 14, "bye")
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        async with connection.open_stream() as stream:
            await soon(connection.leaving)
            assert stream.reason == ""
            said.set()
            assert await soon(stream.recv()) is None
            assert "UNAVAILABLE: bye" in stream.reason
        await soon(connection.closed)


# -- peers that are dead, frozen or hostile


async def test_a_peer_that_does_not_answer_pings_is_dead() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        await raw.until(h2e.SettingsAcknowledged)
        raw.writer.transport.pause_reading()
        await raw.writer.wait_closed()

    async with against(script, limits=wire_limits(ping_interval=0.5, pulse=PulseLimits(slow_after=0.5))) as connection:
        call = asyncio.create_task(connection.call(ping(), 30))
        with pytest.raises(OutcomeUnknown, match=r"hd-2 did not answer a ping within"):
            await soon(call)
        await soon(connection.closed)
        assert not connection.was_cut, "nobody has ended it: nothing came through any more"


@pytest.mark.parametrize(
    ("error", "cut"),
    [(None, True), (ConnectionResetError(104, "reset"), True), (TimeoutError(errno.ETIMEDOUT, "timed out"), False),
     (OSError(errno.EHOSTUNREACH, "no route"), False)],
    ids=["end", "reset", "timeout", "no route"],
)  # fmt: skip
async def test_only_an_end_that_somebody_made_counts_as_cut(error: OSError | None, cut: bool) -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        await until_gone(raw)

    async with against(script) as connection:
        link = connection.wire.link
        link.connection_lost(error)
        assert connection.was_cut is cut


def no_descriptor(_: int) -> int:
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("dup", [os.dup, no_descriptor], ids=["with", "without descriptors"])
async def test_a_peer_that_does_not_read_costs_no_more_than_its_buffers(
    monkeypatch: pytest.MonkeyPatch, dup: Callable[[int], int]
) -> None:
    monkeypatch.setattr("eps.grpc.link.os.dup", dup)

    async def script(raw: Raw) -> None:
        await raw.start()
        raw.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
        raw.h2.increment_flow_control_window(2**30)
        await raw.flush()
        await raw.until(h2e.SettingsAcknowledged)
        await raw.until(h2e.SettingsAcknowledged)
        raw.writer.transport.pause_reading()
        await raw.writer.wait_closed()

    async with against(script, limits=wire_limits(write_timeout=0.3)) as connection:
        request_ = ping(x="y" * 4_000_000)
        calls = [asyncio.create_task(connection.call(request_, 30)) for _ in range(4)]
        for result in await soon(asyncio.gather(*calls, return_exceptions=True)):
            assert isinstance(result, DeliveryError)
            assert "hd-2 did not read for 0.3 s" in str(result)


async def test_where_no_descriptor_is_free_a_large_call_is_sent_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.grpc.link.os.dup", no_descriptor)
    async with rig() as it:
        connection = await it.connect()
        text = "y" * 3_000_000
        assert (await connection.call(ping(x=text), 60)).result == ping(x=text).params


async def test_a_server_that_floods_us_is_cut() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        await request(raw)
        raw.writer.write(b"\0\0\0\x04\0\0\0\0\0" * 100)
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(OutcomeUnknown, match="hd-2 was cut off: too many SETTINGS frames"):
            await connection.call(ping(), 5)
        await soon(connection.closed)


async def test_a_server_may_not_push() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        stream = await request(raw)
        raw.h2.remote_settings[SettingCodes.ENABLE_PUSH] = 1
        raw.h2.remote_settings.acknowledge()
        raw.h2.push_stream(stream, 2, raw.request_headers())
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        with pytest.raises(OutcomeUnknown, match="hd-2 broke the HTTP/2 protocol"):
            await connection.call(ping(), 5)


async def test_unknown_frames_are_ignored() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        stream = await request(raw)
        raw.writer.write(b"\0\0\x03\xfe\0\0\0\0\0abc" * 3 + b"\0\0\x00\xfd\xff\0\0\0\x01")
        raw.respond(stream, ANSWER)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        assert await connection.call(ping(), 5) == ANSWER


async def test_informational_headers_and_empty_data_are_legal() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        stream = await request(raw)
        raw.h2.send_headers(stream, [(":status", "103")])
        raw.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc+proto")])
        for piece in (b"", prefixed(ANSWER.SerializeToString())[:3], b"", prefixed(ANSWER.SerializeToString())[3:]):
            raw.h2.send_data(stream, piece)
        raw.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        assert await connection.call(ping(), 5) == ANSWER


async def test_a_great_header_table_of_the_peer_is_not_used() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        raw.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 2**30})
        raw.respond(await request(raw), ANSWER)
        await raw.flush()
        raw.respond(await request(raw), ANSWER)
        await raw.flush()
        await until_gone(raw)

    async with against(script) as connection:
        assert await connection.call(ping(), 5) == ANSWER
        assert connection.wire.h2.encoder.header_table_size == 4096
        assert await connection.call(ping(), 5) == ANSWER


async def test_who_waits_for_room_in_a_connection_that_ends_is_told_at_once() -> None:
    full, waiting = asyncio.Event(), asyncio.Event()

    async def script(raw: Raw) -> None:
        await raw.start()
        raw.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 0})
        await raw.flush()
        await raw.until(h2e.SettingsAcknowledged)
        await raw.until(h2e.SettingsAcknowledged)
        full.set()
        await soon(waiting.wait())

    async with against(script) as connection:
        await soon(full.wait())
        call = asyncio.create_task(connection.call(ping(), 3_600))
        await asyncio.sleep(0)
        waiting.set()
        with pytest.raises(NotSent, match="the connection was over"):
            await soon(call)


async def test_a_used_up_connection_takes_no_more_calls() -> None:
    async def script(raw: Raw) -> None:
        await raw.start()
        await until_gone(raw)

    async with against(script) as connection:
        connection.wire.h2.highest_outbound_stream_id = 2**31 - 1
        with pytest.raises(NotSent, match="no stream left"):
            await connection.call(ping(), 5)
        assert not connection.usable
        with pytest.raises(NotSent):
            async with connection.open_stream():
                raise AssertionError
