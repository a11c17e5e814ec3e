"""The server against clients that do what a test says: broken, hostile, frozen, or just odd; raw h2 on their side."""

import asyncio
import contextlib
import gc
import ssl
import time
from dataclasses import replace
from pathlib import Path

import h2.events as h2e
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

from eps.core.event import Refused
from eps.core.names import Fingerprint, Operator
from eps.errors import DeliveryError, NotSent, OutcomeUnknown
from eps.grpc import eps_pb2 as pb
from eps.grpc.accepted import Accepted
from eps.grpc.guard import PREFACE
from eps.grpc.pulse import PulseLimits
from eps.grpc.server import ServerStream
from eps.pki import Authority
from eps.transport.handshakes import plain_reason
from eps.transport.tls import PeerIdentity, client_context
from support.attacker import FRAMES
from support.grpc_rig import (
    HD_1,
    Hanging,
    Held,
    Raw,
    echo,
    name_of,
    ping,
    pins,
    prefixed,
    rig,
    server_limits,
    soon,
    struct,
)
from support.testing import certificates, socket_pair, tls_files

PING = ping().SerializeToString()


def call(raw: Raw, message: bytes = PING, **headers: str) -> int:
    """A whole call; its stream."""
    stream = raw.h2.get_next_available_stream_id()
    raw.h2.send_headers(stream, raw.request_headers(**headers))
    raw.h2.send_data(stream, prefixed(message), end_stream=True)
    return stream


async def answer(raw: Raw) -> tuple[str, str, pb.Response | None]:
    """The next answer: status, text, message."""
    data = b""
    headers = dict((await raw.until(h2e.ResponseReceived)).headers)
    if "grpc-status" not in headers:
        headers = dict((await raw.until(h2e.TrailersReceived)).headers)
        while any(isinstance(event, h2e.DataReceived) for event in raw.events):
            data += (await raw.until(h2e.DataReceived)).data or b""
    return headers["grpc-status"], headers.get("grpc-message", ""), pb.Response.FromString(data[5:]) if data else None


# -- who may connect


@pytest.mark.parametrize("name", ["hd-1-alt", "ls-1"])
async def test_a_client_whose_certificate_is_not_pinned_is_refused_before_a_word(name: str) -> None:
    async with rig() as it:
        near, far = socket_pair()
        accepting = asyncio.create_task(it.endpoint.accept(far))
        context = client_context(tls_files(name), ["h2"])
        reader, writer = await asyncio.open_connection(sock=near, ssl=context, server_hostname="hd-2")
        await soon(accepting)
        with contextlib.suppress(ConnectionError):
            assert await soon(reader.read()) == b""
        refused = await it.events.wait_for(Refused)
        assert (refused.listener, refused.why) == ("grpc", "pin")
        assert "pins certificate" in refused.detail
        assert "127.0.0.1:" in refused.source
        writer.transport.abort()


async def test_a_pin_that_is_withdrawn_while_the_connection_comes_up_counts() -> None:
    asked: list[str] = []

    def once(name: Operator) -> frozenset[Fingerprint]:
        asked.append(name)
        return pins()(name) if asked.count(name) == 1 else frozenset()

    async with rig(server_pins=once) as it:
        near, far = socket_pair()
        accepting = asyncio.create_task(it.endpoint.accept(far))
        context = client_context(tls_files("hd-1"), ["h2"])
        _, writer = await asyncio.open_connection(sock=near, ssl=context, server_hostname="hd-2")
        await soon(accepting)
        assert not it.endpoint.connections
        assert (await it.events.wait_for(Refused)).detail == "the directory no longer pins its certificate"
        writer.transport.abort()


async def test_a_client_with_several_pinned_names_has_them_all() -> None:
    issued = certificates().authority.issue_tls("hd-1", dns=["op-1", "hd-1", "op-2"])
    issued.write(certificates().folder, "many")
    files = replace(
        tls_files("hd-1"),
        certificate_file=str(certificates().folder / "many.crt"),
        key_file=str(certificates().folder / "many.key"),
    )
    base = pins()
    seen: list[PeerIdentity] = []

    async def on_call(peer: PeerIdentity, request: pb.Request) -> pb.Response:
        seen.append(peer)
        return await echo(peer, request)

    def pinned(name: str) -> frozenset[str]:
        return frozenset([issued.fingerprint]) if name in ("hd-1", "op-2") else base(HD_1)

    async with rig(on_call, server_pins=pinned) as it:
        connection = await it.connect(context=client_context(files, ["h2"]))
        await connection.call(ping(), 5)
        assert seen[0].names == ("hd-1", "op-2")


@pytest.mark.parametrize("first", [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""])
async def test_what_is_no_tls_is_refused(first: bytes) -> None:
    async with rig(limits=server_limits(handshake_timeout=0.1)) as it:
        near, far = socket_pair()
        near.send(first)
        if not first:
            near.close()
        await soon(it.endpoint.accept(far))
        assert it.events.of(Refused)[0].why == ("tls" if first else "gone")
        near.close()


async def test_silence_instead_of_tls_ends_at_the_deadline() -> None:
    async with rig(limits=server_limits(handshake_timeout=0.1)) as it:
        near, far = socket_pair()
        await soon(it.endpoint.accept(far))
        assert it.events.of(Refused)[0].detail == "no TLS within 0.1 s"
        near.close()


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [("", "it requires a client certificate"), ("stranger", "it doesn't know the authority of our certificate")],
)
async def test_a_client_that_is_refused_in_the_handshake_reads_why(
    certificate: str, reason: str, tmp_path: Path
) -> None:
    Authority.create(fast=True).issue_tls("hd-1").write(tmp_path, "stranger")
    own = [str(tmp_path / f"stranger.{end}") if certificate else "" for end in ("crt", "key")]
    files = replace(tls_files("hd-1"), certificate_file=own[0], key_file=own[1])
    async with rig() as it:
        near, far = socket_pair()
        accepting = asyncio.create_task(it.endpoint.accept(far))
        context = client_context(files, ["h2"])
        reader, writer = await asyncio.open_connection(sock=near, ssl=context, server_hostname="hd-2")
        with pytest.raises(ssl.SSLError) as raised:  # in TLS 1.3 behind the client's side of the handshake
            await soon(reader.read())
        await soon(accepting)
        assert reason in plain_reason(raised.value)
        assert it.events.of(Refused)[0].why == "tls"
        writer.transport.abort()


async def test_who_asks_for_nothing_gives_way_to_new_ones() -> None:
    async with rig(limits=server_limits(max_arriving=2)) as it:
        busy = await it.connect()
        await busy.call(ping(), 5)
        silent = [await (await it.raw_client()).start() for _ in range(3)]
        assert await soon(silent[0].goaway()) == (-1, -1)
        refused = await it.events.wait_for(Refused)
        assert refused.why == "silent"
        assert "hd-1 asked for nothing: 2 newer connections" in refused.detail
        for raw in silent[1:]:
            call(raw)
            await raw.flush()
            assert (await answer(raw))[0] == "0"
        await busy.call(ping(), 5)
        for raw in silent:
            await raw.close()


def accepted_connections() -> int:
    return sum(type(one) is Accepted for one in gc.get_objects())


async def test_who_asks_for_nothing_leaves_nothing_behind_that_somebody_must_look_for() -> None:
    gc.collect()
    before = accepted_connections()
    gc.disable()
    try:
        async with rig() as it:
            silent = [await (await it.raw_client()).start() for _ in range(3)]
            assert accepted_connections() == before + 3
            for raw in silent:
                await raw.close()
            async with asyncio.timeout(20):
                while accepted_connections() > before:
                    await asyncio.sleep(0.05)
    finally:
        gc.enable()


async def test_half_a_first_frame_is_no_request() -> None:
    async with rig(limits=server_limits(max_arriving=1)) as it:
        half = await it.raw_client()
        half.writer.write(PREFACE[:10])
        other = await it.raw_client()
        assert await soon(half.goaway()) == (-1, -1)
        assert (await it.events.wait_for(Refused)).why == "silent"
        for raw in (half, other):
            await raw.close()


async def test_accepting_can_be_cancelled() -> None:
    async with rig() as it:
        near, far = socket_pair()
        accepting = asyncio.create_task(it.endpoint.accept(far))
        await asyncio.sleep(0)
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        near.close()


async def test_nobody_is_accepted_while_closing() -> None:
    async with rig() as it:
        near, far = socket_pair()
        await it.endpoint.close(0)
        await soon(it.endpoint.accept(far))
        assert await soon(asyncio.get_running_loop().sock_recv(near, 1)) == b""
        near.close()


async def test_a_preface_that_comes_slowly_ends_at_the_deadline() -> None:
    async with rig(limits=server_limits(wire={"settings_timeout": 0.2})) as it:
        raw = await it.raw_client()
        raw.writer.write(PREFACE[:10])
        started = time.monotonic()
        await raw.goaway()
        assert time.monotonic() - started < 5
        await raw.close()


# -- calls


async def test_a_call_by_a_raw_client() -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        call(raw)
        await raw.flush()
        status, _, message = await answer(raw)
        assert (status, message) == ("0", pb.Response(id="hd-2._ping(1)", result=b""))
        await raw.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({":path": "/EPS/Other"}, "12"),
        ({":path": "/"}, "12"),
        ({":method": "GET"}, "13"),
        ({"content-type": "application/json"}, "13"),
        ({"grpc-encoding": "gzip"}, "12"),
        ({"grpc-timeout": "soon"}, "3"),
    ],
)
async def test_requests_that_are_none(headers: dict[str, str], status: str) -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        call(raw, **headers)
        await raw.flush()
        assert (await answer(raw))[0] == status
        call(raw)
        await raw.flush()
        assert (await answer(raw))[0] == "0"  # the connection lives
        assert raw.h2.open_outbound_streams == 0
        await raw.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", "3"),
        (prefixed(PING) * 2, "3"),
        (prefixed(b"\xff\xff"), "3"),
        (b"\x01" + prefixed(PING)[1:], "12"),
        (b"\0" + (4_194_305).to_bytes(4, "big"), "8"),
        (b"\0\xff\xff\xff\xff", "8"),
    ],
)
async def test_messages_that_are_none(data: bytes, status: str) -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        stream = raw.h2.get_next_available_stream_id()
        raw.h2.send_headers(stream, raw.request_headers())
        raw.h2.send_data(stream, data, end_stream=True)
        await raw.flush()
        assert (await answer(raw))[0] == status
        call(raw)
        await raw.flush()
        assert (await answer(raw))[0] == "0"
        await raw.close()


async def test_a_message_over_4_mib_is_refused_by_its_prefix_and_the_rest_is_not_wanted() -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        raw.h2.send_headers(1, raw.request_headers())
        raw.h2.send_data(1, b"\0" + (4_194_305).to_bytes(4, "big"))
        await raw.flush()
        status, text, _ = await answer(raw)
        assert (status, text) == ("8", "the message has 4,194,305 bytes, the limit is 4,194,304 (4 MiB)")
        assert (await raw.until(h2e.StreamReset)).error_code == ErrorCodes.NO_ERROR
        assert it.events.of(Refused)[0].why == "message"
        await raw.close()


async def test_a_message_that_ends_too_early_resets_its_stream_only() -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        raw.h2.send_headers(1, raw.request_headers())
        raw.h2.send_data(1, b"\0\0\0\0\x09abc", end_stream=True)
        await raw.flush()
        await raw.until(h2e.StreamReset)
        call(raw)
        await raw.flush()
        assert (await answer(raw))[0] == "0"
        await raw.close()


async def test_a_request_that_never_ends_is_answered_at_its_deadline() -> None:
    async with rig(limits=server_limits(request_timeout=0.1)) as it:
        raw = await (await it.raw_client()).start()
        raw.h2.send_headers(1, raw.request_headers())
        raw.h2.send_data(1, b"\0\0\0\0\x09abc")
        await raw.flush()
        status, text, _ = await answer(raw)
        assert (status, text) == ("4", "the request did not arrive within 0.1 s")
        await raw.until(h2e.StreamReset)
        await raw.close()


async def test_missing_pseudo_headers_end_the_connection_and_nothing_else() -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        raw.h2.send_headers(1, [("te", "trailers")])
        await raw.flush()
        code, _ = await raw.goaway()
        assert name_of(code) == "PROTOCOL_ERROR"
        await raw.close()
        await (await it.connect()).call(ping(), 5)


async def test_the_clients_deadline_ends_the_work_on_a_call() -> None:
    on_call = Hanging()

    async with rig(on_call) as it:
        raw = await (await it.raw_client()).start()
        call(raw, **{"grpc-timeout": "50m"})
        await raw.flush()
        assert (await answer(raw))[:2] == ("4", "the deadline that the client set has passed")
        assert on_call.ended.is_set()
        await raw.close()


async def test_a_reset_ends_the_work_on_a_call() -> None:
    on_call = Hanging()

    async with rig(on_call) as it:
        raw = await (await it.raw_client()).start()
        stream = call(raw)
        await raw.flush()
        await soon(on_call.started.wait())
        raw.h2.reset_stream(stream, ErrorCodes.CANCEL)
        await raw.flush()
        await soon(on_call.ended.wait())
        await raw.close()


async def test_what_a_client_sent_before_it_knew_is_answered_and_what_comes_later_refused() -> None:
    on_call = Held()

    async with rig(on_call) as it:
        raw = await (await it.raw_client()).start()
        call(raw)
        await raw.flush()
        await raw.until(h2e.SettingsAcknowledged)
        it.endpoint.connections[0].accepted.drain("test")
        call(raw)  # crosses the first GOAWAY
        raw.writer.write(raw.h2.data_to_send())
        first = await raw.collect(GoAwayFrame, PingFrame)
        assert first[GoAwayFrame].last_stream_id == 2**31 - 1
        ack = PingFrame(0, first[PingFrame].opaque_data, flags=["ACK"]).serialize()
        raw.writer.write(ack)
        second = await raw.collect(GoAwayFrame)
        assert (second[GoAwayFrame].last_stream_id, second[GoAwayFrame].error_code) == (3, 0)
        call(raw)
        raw.writer.write(raw.h2.data_to_send())
        refused = await raw.collect(RstStreamFrame)
        assert (refused[RstStreamFrame].stream_id, refused[RstStreamFrame].error_code) == (5, ErrorCodes.REFUSED_STREAM)
        on_call.release.set()
        answered = [frame for frame in await raw.rest() if isinstance(frame, DataFrame)]
        assert sorted(frame.stream_id for frame in answered) == [1, 3]
        await raw.close()


async def test_a_client_that_does_not_answer_the_last_ping_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.grpc.accepted.LAST_PING_TIMEOUT", 0.05)
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        await raw.until(h2e.SettingsAcknowledged)
        it.endpoint.connections[0].accepted.drain("test")
        last = [frame for frame in await raw.rest() if isinstance(frame, GoAwayFrame)]
        assert [frame.last_stream_id for frame in last] == [2**31 - 1, 0]
        await raw.close()


async def test_work_in_progress_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.grpc.accepted.MAX_TASKS", 2)
    on_call = Held()

    async with rig(on_call) as it:
        raw = await (await it.raw_client()).start()
        for _ in range(3):
            call(raw)
        await raw.flush()
        reset = await raw.until(h2e.StreamReset)
        assert (reset.stream_id, reset.error_code) == (5, ErrorCodes.REFUSED_STREAM)
        on_call.release.set()
        await raw.until(h2e.TrailersReceived)
        await raw.until(h2e.TrailersReceived)
        call(raw)
        await raw.flush()
        await raw.until(h2e.TrailersReceived)
        await raw.close()


async def test_an_announcement_that_cannot_be_read_ends_the_stream() -> None:
    reasons: list[str] = []

    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        assert await stream.recv() is None
        reasons.append(stream.reason)

    async with rig(on_stream=on_stream) as it:
        raw = await (await it.raw_client()).start()
        raw.h2.send_headers(1, raw.request_headers("/EPS/ServerCall"))
        raw.h2.send_data(1, prefixed(b"\xff\xff"))
        await raw.flush()
        assert (await answer(raw))[0] == "14"
        assert reasons == ["the client sent an answer that can't be read"]
        await raw.close()


async def test_an_oversized_message_on_a_stream_ends_it_with_a_status() -> None:
    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        assert await stream.recv() is None

    async with rig(on_stream=on_stream) as it:
        raw = await (await it.raw_client()).start()
        raw.h2.send_headers(1, raw.request_headers("/EPS/ServerCall"))
        await raw.flush()
        await raw.until(h2e.ResponseReceived)
        raw.h2.send_data(1, b"\0\xff\xff\xff\xff")
        await raw.flush()
        assert dict((await raw.until(h2e.TrailersReceived)).headers)["grpc-status"] == "8"
        await raw.close()


async def test_a_stream_never_ends_with_ok_even_if_the_client_closes_it_well() -> None:
    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        assert await stream.recv() is None
        assert stream.reason == "the client ended it"

    async with rig(on_stream=on_stream) as it:
        raw = await (await it.raw_client()).start()
        raw.h2.send_headers(1, raw.request_headers("/EPS/ServerCall"), end_stream=True)
        await raw.flush()
        status, text, _ = await answer(raw)
        assert (status, text) == ("14", "the client ended it")
        await raw.close()


# -- floods


def headers_block(raw: Raw) -> bytes:
    """The block of a legal request, with no reference to the dynamic table, so that it can be sent again and again."""
    raw.h2.encoder.header_table_size = 0
    return raw.h2.encoder.encode(raw.request_headers())


async def flood(raw: Raw, data: bytes, *, repeat: int) -> tuple[str, float]:
    """Send ``data`` ``repeat`` times, or until we are cut; the GOAWAY's code and this thread's CPU seconds."""
    started = time.thread_time()
    reading = asyncio.create_task(raw.goaway())
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        for _ in range(repeat):
            if reading.done():
                break
            raw.writer.write(data)
            await soon(raw.writer.drain())
            await asyncio.sleep(0)
    code, _last = await soon(reading)
    return name_of(code), time.thread_time() - started


@pytest.mark.parametrize("kind", FRAMES)
async def test_a_flood_is_cut_with_enhance_your_calm(kind: str) -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        raw.h2.send_headers(1, raw.request_headers())
        raw.h2.send_data(1, b"\0\0\x30\0\0")  # a message of 3 MiB, to dribble
        await raw.flush()
        code, seconds = await flood(raw, FRAMES[kind]() * 50, repeat=2000)
        refused = await it.events.wait_for(Refused)
        assert refused.why == "guard"
        assert refused.detail == f"hd-1 was cut off: too many {kind} frames"
        assert code in ("ENHANCE_YOUR_CALM", "none")  # a reset may overtake the GOAWAY while we still send
        assert seconds < 5
        await raw.close()
        await (await it.connect()).call(ping(), 5)


async def test_the_goaway_of_a_cut_arrives_at_a_peer_that_listens() -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        raw.writer.write(SettingsFrame(0).serialize() * 51)
        code, _ = await raw.goaway()
        assert name_of(code) == "ENHANCE_YOUR_CALM"
        await raw.close()


async def test_rapid_reset_is_cut_and_stalls_nobody() -> None:
    """CVE-2023-44487: streams opened and reset at once. 560 KB of it stalls an unguarded server for two seconds."""
    async with rig() as it:
        friend = await it.connect()
        raw = await (await it.raw_client()).start()
        block = headers_block(raw)
        attack: list[Frame] = []
        for stream in range(1, 20_001, 2):
            opened = HeadersFrame(stream, block, flags=["END_HEADERS"])
            attack += [
                opened,
                DataFrame(stream, prefixed(PING), flags=["END_STREAM"]),
                RstStreamFrame(stream, error_code=8),
            ]
        raw.writer.write(b"".join(frame.serialize() for frame in attack))
        slowest = 0.0
        while not it.events.of(Refused):
            started = time.thread_time()
            await friend.call(ping(), 30)
            slowest = max(slowest, time.thread_time() - started)
        assert it.events.of(Refused)[0].detail == "hd-1 was cut off: too many rapid RST_STREAM frames"
        assert slowest < 1.0
        assert (await friend.call(ping(), 5)).id
        await raw.close()


async def test_endless_continuations_are_cut() -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        raw.writer.write(HeadersFrame(1, b"\x82").serialize() + ContinuationFrame(1, b"").serialize() * 100)
        code, _ = await raw.goaway()
        assert name_of(code) == "PROTOCOL_ERROR"
        await raw.close()

        raw = await (await it.raw_client()).start()
        raw.writer.write(
            HeadersFrame(1, bytes(16_000)).serialize() + ContinuationFrame(1, bytes(16_000)).serialize() * 3
        )
        assert "header block over" in (await it.events.wait_for(Refused)).detail
        await raw.close()


async def test_a_header_list_that_unpacks_to_megabytes_is_cut() -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        bomb = raw.request_headers() + [("x", "y" * 3_000)] * 2_000  # compressed: one byte each, after the first
        raw.h2.send_headers(1, bomb)
        await raw.flush()
        code, _ = await raw.goaway()
        assert name_of(code) in ("ENHANCE_YOUR_CALM", "PROTOCOL_ERROR")
        await raw.close()


async def test_more_streams_than_allowed_end_the_connection() -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        block = headers_block(raw)
        raw.writer.write(
            b"".join(HeadersFrame(stream, block, flags=["END_HEADERS"]).serialize() for stream in range(1, 2_100, 2))
        )
        code, _ = await raw.goaway()
        assert name_of(code) in ("PROTOCOL_ERROR", "REFUSED_STREAM")
        await raw.close()


async def test_unknown_frames_and_empty_data_are_legal_in_small_numbers() -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        for _ in range(3):
            stream = raw.h2.get_next_available_stream_id()
            raw.h2.send_headers(stream, raw.request_headers())
            raw.h2.send_data(stream, b"")
            for byte in prefixed(PING):
                raw.h2.send_data(stream, bytes([byte]))
            raw.h2.send_data(stream, b"", end_stream=True)
            await raw.flush(b"\0\0\x02\xfa\0" + bytes(4) + b"hi")
            assert (await answer(raw))[0] == "0"
        await raw.close()


# -- frozen peers


async def test_a_client_that_does_not_read_is_cut_and_held_in_bounded_memory() -> None:
    async def on_call(_peer: PeerIdentity, request: pb.Request) -> pb.Response:
        return pb.Response(id=request.id, result=struct(x="y" * 4_000_000))

    # So long that a busy machine fills the kernel: answers of which nothing is written end only their calls.
    async with rig(on_call, limits=server_limits(wire={"write_timeout": 2.0})) as it:
        raw = await (await it.raw_client()).start()
        raw.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
        raw.h2.increment_flow_control_window(2**30)
        await raw.flush()
        await raw.until(h2e.SettingsAcknowledged)
        await raw.until(h2e.SettingsAcknowledged)
        raw.writer.transport.pause_reading()
        for _ in range(30):
            call(raw)
        await raw.flush()
        connection = it.endpoint.connections[0]
        assert "hd-1 did not read for 2 s" in await soon(connection.closed)
        await raw.close()


async def test_answers_that_pile_up_unread_end_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.grpc.accepted.MAX_OUTGOING_BYTES", 5_000_000)

    async def on_call(_peer: PeerIdentity, request: pb.Request) -> pb.Response:
        return pb.Response(id=request.id, result=struct(x="y" * 4_000_000))

    async with rig(on_call) as it:
        raw = await (await it.raw_client()).start()  # its stream windows have 64 KiB
        for _ in range(2):
            call(raw)
        await raw.flush()
        await raw.until(h2e.ResponseReceived)
        refused = dict((await raw.until(h2e.ResponseReceived)).headers)
        assert refused["grpc-status"] == "8"
        await raw.close()


async def test_slow_calls_with_long_messages_delay_no_other_and_memory_is_counted_per_certificate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eps.grpc.admission.MAX_BUFFERED_BYTES", 300_000)
    monkeypatch.setattr("eps.grpc.admission.MAX_HANDLED_BYTES", 1_000_000)
    gate, running, started = asyncio.Event(), 0, asyncio.Queue[str]()

    async def on_call(_peer: PeerIdentity, request: pb.Request) -> pb.Response:
        nonlocal running
        running += 1
        started.put_nowait(request.id)
        await gate.wait()
        return pb.Response(id=request.id)

    async with rig(on_call) as it:
        connections = [await it.connect(), await it.connect()]
        calls = []
        for number in range(4):  # more than come in at once: none waits for the others' handlers
            calls.append(asyncio.create_task(connections[number % 2].call(ping(str(number), x="y" * 240_000), 30)))
            await soon(started.get())
        calls.append(asyncio.create_task(connections[0].call(ping("4", x="y" * 240_000), 30)))
        small = asyncio.create_task(connections[1].call(ping("5"), 30))
        short = asyncio.create_task(connections[1].call(ping("6", x="y" * 240_000), 0.2))
        with pytest.raises(OutcomeUnknown):  # it waits behind the fifth, which waits for one of the four
            await soon(short)
        assert running <= 5  # the small one may have come first
        gate.set()
        assert len(await soon(asyncio.gather(*calls, small))) == 6
        memory = it.endpoint.connections[0].accepted.memory
        assert (memory.handled.taken, memory.admission.taken, memory.outgoing) == (0, 0, 0)


async def test_calls_that_find_no_room_in_time_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.grpc.admission.MAX_HANDLED_BYTES", 100)
    on_call = Held()

    async with rig(on_call, limits=server_limits(request_timeout=0.1)) as it:
        connection = await it.connect()
        first = asyncio.create_task(connection.call(ping("1", x="y" * 100), 30))
        await soon(on_call.started.wait())
        with pytest.raises(DeliveryError, match=r"RESOURCE_EXHAUSTED: hd-1 has \d+ bytes of requests under way"):
            await soon(connection.call(ping("2"), 30))
        on_call.release.set()
        assert (await soon(first)).id == "hd-2._ping(1)"


async def test_streams_are_counted_per_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.grpc.accepted.MAX_PEER_STREAMS", 1)
    on_call = Held()

    async with rig(on_call) as it:
        first, second = await it.connect(), await it.connect()
        calling = asyncio.create_task(first.call(ping("1"), 30))
        await soon(on_call.started.wait())
        with pytest.raises(NotSent):
            await soon(second.call(ping("2"), 30))
        on_call.release.set()
        await soon(calling)
        assert (await soon(second.call(ping("3"), 30))).id == "hd-2._ping(3)"


async def test_an_answer_that_is_never_read_is_dropped_at_a_deadline() -> None:
    async with rig(limits=server_limits(wire={"write_timeout": 0.1})) as it:
        raw = await (await it.raw_client()).start()
        request = ping(x="y" * 200_000)
        stream = raw.h2.get_next_available_stream_id()
        raw.h2.send_headers(stream, raw.request_headers())
        data = prefixed(request.SerializeToString())
        while data:
            window = min(raw.h2.local_flow_control_window(stream), 16_384)
            if not window:
                await raw.flush()
                await raw.until(h2e.WindowUpdated)
                continue
            raw.h2.send_data(stream, data[:window], end_stream=len(data) <= window)
            data = data[window:]
        await raw.flush()
        assert (await raw.until(h2e.StreamReset)).error_code == ErrorCodes.CANCEL  # our windows were never opened again
        await raw.close()


async def test_a_peer_that_does_not_answer_pings_is_dead() -> None:
    async with rig(limits=server_limits(wire={"ping_interval": 0.05, "pulse": PulseLimits(slow_after=0.1)})) as it:
        raw = await (await it.raw_client()).start()
        await raw.until(h2e.SettingsAcknowledged)
        connection = it.endpoint.connections[0]
        assert "hd-1 did not answer a ping within" in await soon(connection.closed)
        await raw.close()


async def test_a_client_may_ping_every_15_seconds_for_ever() -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        for _ in range(50):  # at once; as many come free again in ten seconds
            raw.h2.ping(b"12345678")
        await raw.flush()
        for _ in range(50):
            await raw.until(h2e.PingAckReceived)
        call(raw)
        await raw.flush()
        assert (await answer(raw))[0] == "0"
        await raw.close()
