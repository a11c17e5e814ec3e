"""``ServerCall`` streams between our EPS server and those on the C core (PROTOCOL.md sections 3 and 9, «Streams»)."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest

import grpc
from eps.core.message import Response as OurResponse
from eps.core.names import Object
from support.foreign import messages
from support.foreign.messages import Request, Response
from support.foreign.network import HD_1, HD_2, PROXY, Network
from support.foreign.streams import StreamHolder
from support.ours import WAIT, echo, foreign_network, in_thread, ours


def tell(method: str, params: Object, request_id: str) -> Any:
    return {"method": method, "said": params.get("say"), "from": params["_client"]["name"]}


def grant_echo_to_proxies(network: Network) -> None:
    """Let the proxy's operator call ``echo`` and ``_ping`` on hd-1 and hd-2, too."""
    network.extra_groups[PROXY] = ["health-departments"]
    network.publish()


# --- streams that foreign servers hold to ours


async def test_ours_calls_down_a_foreign_stream() -> None:
    async with foreign_network() as network:
        grant_echo_to_proxies(network)
        async with ours(network, PROXY) as server:
            holder = network.run(HD_2, tell).hold_stream(PROXY)
            await server.wait_connected(HD_2)
            answers = await asyncio.gather(*(server.call("hd-2.echo", {"say": n}, f"c{n}") for n in range(20)))
            assert [answer.result["said"] for answer in answers] == list(range(20))
            assert {answer.result["from"] for answer in answers} == {PROXY}
            assert len(holder.received) == 20


async def test_pings_down_a_foreign_stream_are_answered_with_nothing_and_ours_lives_with_it() -> None:
    async with foreign_network() as network:
        grant_echo_to_proxies(network)
        async with ours(network, PROXY) as server:
            network.run(HD_2).hold_stream(PROXY)
            await server.wait_connected(HD_2)
            for method in ("_ping", "_directory"):
                answer = await server.call(f"hd-2.{method}")
                assert answer.error is None
                assert not answer.result


async def test_a_slow_call_delays_the_next_ones_of_a_foreign_stream_but_loses_none() -> None:
    release = threading.Event()

    def slow_once(method: str, params: Object, request_id: str) -> Any:
        assert params.get("say") != 0 or release.wait(WAIT)
        return {"said": params.get("say")}

    async with foreign_network() as network:
        grant_echo_to_proxies(network)
        async with ours(network, PROXY) as server:
            network.run(HD_2, slow_once).hold_stream(PROXY)
            await server.wait_connected(HD_2)
            calls = [asyncio.create_task(server.call("hd-2.echo", {"say": n}, "same")) for n in range(5)]
            done, _ = await asyncio.wait(calls, timeout=0.2)
            assert not done
            release.set()
            assert [answer.result for answer in await asyncio.gather(*calls)] == [{"said": n} for n in range(5)]


async def test_a_late_answer_is_not_taken_for_that_of_the_next_call_with_the_same_id() -> None:
    release = threading.Event()

    def slow_first(method: str, params: Object, request_id: str) -> Any:
        assert params.get("say") != 0 or release.wait(WAIT)
        return {"said": params.get("say")}

    async with foreign_network() as network:
        grant_echo_to_proxies(network)
        async with ours(network, PROXY, call_timeout=3.0) as server:
            network.run(HD_2, slow_first).hold_stream(PROXY)
            await server.wait_connected(HD_2)
            lost = await server.call("hd-2.echo", {"say": 0}, "same")
            again = asyncio.create_task(server.call("hd-2.echo", {"say": 1}, "same"))
            await asyncio.sleep(0.1)  # it waits behind the first one, which then answers late
            release.set()
            answer = await again
    assert lost.error is not None
    assert answer.result == {"said": 1}


async def test_a_foreign_stream_never_ends_with_ok_when_ours_stops_and_comes_back() -> None:
    async with foreign_network() as network:
        grant_echo_to_proxies(network)
        client = network.run(HD_2, tell)
        async with ours(network, PROXY) as server:
            holder = client.hold_stream(PROXY)
            await server.wait_connected(HD_2)
            address = server.address
        assert await in_thread(holder.wait_ended, 1, WAIT)
        assert grpc.StatusCode.OK not in holder.endings
        assert not holder.spun
        async with ours(network, PROXY, bind_address=address) as server:
            await server.wait_connected(HD_2)
            assert (await server.call("hd-2.echo", {"say": 1})).result["said"] == 1


async def test_every_outstanding_call_fails_at_once_when_its_stream_ends() -> None:
    entered, release = threading.Semaphore(0), threading.Event()

    def hang(*_: Any) -> Any:
        entered.release()
        assert release.wait(WAIT)

    async with foreign_network() as network:
        grant_echo_to_proxies(network)
        async with ours(network, PROXY) as server:
            holder = network.run(HD_2, hang).hold_stream(PROXY)
            await server.wait_connected(HD_2)
            calls = [asyncio.create_task(server.call("hd-2.echo", {}, f"c{n}")) for n in range(3)]
            assert await in_thread(entered.acquire, True, WAIT)
            holder.break_off()
            answers = await asyncio.wait_for(asyncio.gather(*calls), 30)
            release.set()
    assert all(answer.error is not None for answer in answers)
    assert {answer.error.data["outcome"] for answer in answers if answer.error} <= {"unknown", "not_sent"}


async def test_the_newer_of_two_foreign_streams_stays() -> None:
    async with foreign_network() as network:
        grant_echo_to_proxies(network)
        async with ours(network, PROXY) as server:
            client = network.run(HD_2, tell, reopen_after=600.0)
            older = client.hold_stream(PROXY)
            await server.wait_connected(HD_2)
            newer = StreamHolder(HD_2, PROXY, client.dial, lambda _, request: Response(request.id, {}), client.habits)
            try:
                assert await in_thread(older.wait_ended, 1, WAIT)  # ours ends the older one
                assert older.endings[0] is not grpc.StatusCode.OK
                await asyncio.to_thread(older.close)
                assert (await server.call("hd-2.echo")).error is None
                assert len(newer.received) == 1
            finally:
                await asyncio.to_thread(newer.close)


async def test_a_stream_under_a_name_that_the_certificate_lacks_ends_but_not_with_ok() -> None:
    async with foreign_network() as network, ours(network, PROXY):
        client = network.run(HD_2, reopen_after=600.0)
        client.name = HD_1
        holder = client.hold_stream(PROXY)
        assert await in_thread(holder.wait_ended, 1, WAIT)
        assert holder.endings[0] is not grpc.StatusCode.OK


# --- streams that ours holds to foreign servers


async def test_ours_answers_a_foreign_server() -> None:
    async with foreign_network() as network:
        grant_echo_to_proxies(network)
        server = network.run(PROXY)
        async with ours(network, HD_2, echo):
            assert await in_thread(server.server.wait_connected, HD_2)
            for number in range(5):
                answer = await in_thread(server.call, "hd-2.echo", {"say": number})
                assert answer.result is not None
                assert answer.result["said"] == number
            ping = await in_thread(server.call, "hd-2._ping")
            assert ping.result is not None
            assert ping.result["serverInfo"]["name"] == HD_2
            assert all(request.id == answer.id for request, answer in server.server.answers)
            assert server.server.wait_streams(HD_2, 1)


async def test_ours_keeps_one_stream_per_server_and_reopens_it() -> None:
    async with foreign_network() as network:
        grant_echo_to_proxies(network)
        server = network.run(PROXY)
        address = server.server.port
        async with ours(network, HD_2, echo):
            assert await in_thread(server.server.wait_connected, HD_2)
            await in_thread(server.close)
            again = network.run(PROXY)
            assert again.server.port != address
            assert await in_thread(again.server.wait_connected, HD_2)
            assert (await in_thread(again.call, "hd-2.echo", {"say": 1})).error is None
            assert again.server.wait_streams(HD_2, 1)
            assert again.server.ended_while_newer_was_open == []
        assert await in_thread(_gone, again)


def _gone(server: Any) -> bool:
    return bool(server.server.wait_connected(HD_2, connected=False))


async def test_a_server_that_ends_connections_by_age_is_never_left_with_two_streams() -> None:
    async with foreign_network() as network:
        grant_echo_to_proxies(network)
        server = network.run(PROXY, age_seconds=0.4, grace_seconds=0.3)
        async with ours(network, HD_2, echo):
            for _ in range(4):  # streams are cut, and opened again
                seen = len(server.server.peers)
                assert await in_thread(_until, lambda seen=seen: len(server.server.peers) > seen)
                assert await in_thread(server.server.wait_connected, HD_2)
        assert server.server.ended_while_newer_was_open == []


def _until(condition: Any) -> bool:
    stop = threading.Event()
    for _ in range(int(WAIT / 0.02)):
        if condition():
            return True
        stop.wait(0.02)
    return False


async def test_a_refused_request_is_answered_over_the_stream() -> None:
    async with foreign_network() as network:
        server = network.run(PROXY)  # without the group that may call echo
        async with ours(network, HD_2, echo):
            assert await in_thread(server.server.wait_connected, HD_2)
            answer = await in_thread(server.call, "hd-2.echo")
            assert answer.error is not None
            assert answer.error.code == 403
            # Its own client name is right; another one is not.
            request = Request("hd-2.echo", {}, "hd-2.echo(2)", HD_1)
            refused = await in_thread(server.server.send, HD_2, request)
            assert refused.error is not None
            assert refused.error.code == 404


# --- a server that sends several requests at once, which tests what the polite one can't


class Dictation:
    """A ``ServerCall`` server under the proxy's name that sends what it is told, and keeps what it gets."""

    def __init__(self, network: Network, *, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self.to_send: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self.received: queue.SimpleQueue[Response] = queue.SimpleQueue()
        self._metadata = metadata
        self._readers: list[threading.Thread] = []
        self._pool = ThreadPoolExecutor(8)
        self._server = grpc.server(self._pool)
        handler = grpc.stream_stream_rpc_method_handler(self._serve, messages.decode_response, messages.encode_request)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(messages.SERVICE, {"ServerCall": handler}),)
        )
        tls = network.tls(PROXY)
        credentials = grpc.ssl_server_credentials([(tls.key_pem, tls.cert_pem)], tls.root_pem, True)
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    def _serve(self, incoming: Iterator[Response], context: grpc.ServicerContext) -> Iterator[Request]:
        if self._metadata:
            context.send_initial_metadata(self._metadata)
        reader = threading.Thread(target=self._read, args=(incoming,))
        self._readers.append(reader)
        reader.start()
        yield from iter(self.to_send.get, None)
        context.abort(grpc.StatusCode.UNAVAILABLE, "done")

    def _read(self, incoming: Iterator[Response]) -> None:
        try:
            for response in incoming:
                self.received.put(response)
        except Exception:  # the stream broke
            return

    async def get(self) -> Response:
        return await in_thread(self.received.get, True, WAIT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.to_send.put(None)
        await asyncio.to_thread(lambda: self._server.stop(0).wait())
        await asyncio.to_thread(self._pool.shutdown)
        for reader in self._readers:
            reader.join()


@pytest.mark.parametrize("unordered", [False, True])
async def test_answers_come_once_each_and_in_order_unless_the_server_says_it_takes_any(unordered: bool) -> None:
    release = asyncio.Event()

    async def slow_first(method: str, params: Object, request_id: str) -> OurResponse:
        if params["say"] == 0:
            await release.wait()
        return OurResponse(request_id, {"said": params["say"]})

    metadata = (("eps-streams", "unordered"),) if unordered else ()
    async with foreign_network() as network:
        grant_echo_to_proxies(network)
        async with Dictation(network, metadata=metadata) as server:
            network.publish(**{PROXY: f"127.0.0.1:{server.port}"})
            async with ours(network, HD_2, slow_first):
                announced = await server.get()
                assert (announced.id, announced.result) == ("1", {"name": HD_2})
                for number in range(4):
                    server.to_send.put(Request("hd-2.echo", {"say": number}, f"hd-2.echo({number})", PROXY))
                first = await server.get() if unordered else None
                release.set()
                answers = [await server.get() for _ in range(3 if unordered else 4)]
                said = [answer.result["said"] for answer in answers if answer.result]
                if unordered:
                    assert first is not None
                    assert first.result != {"said": 0}
                    assert sorted([*said, first.result["said"]]) == [0, 1, 2, 3] if first.result else False
                else:
                    assert said == [0, 1, 2, 3]
                    assert [answer.id for answer in answers] == [f"hd-2.echo({n})" for n in range(4)]
                assert server.received.empty()


async def test_a_stream_that_a_server_ends_is_opened_again() -> None:
    async with foreign_network() as network, Dictation(network) as server:
        network.publish(**{PROXY: f"127.0.0.1:{server.port}"})
        async with ours(network, HD_2, echo):
            for _ in range(2):
                assert (await server.get()).result == {"name": HD_2}
                server.to_send.put(None)
            assert (await server.get()).result == {"name": HD_2}
