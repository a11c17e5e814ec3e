"""The foreign peers against each other: what they are used to prove later must first be true of them."""

import base64
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import grpc
from support.foreign import messages
from support.foreign.directory import Directory, Upset
from support.foreign.forms import BadForm, check_client, check_connection_request, parse_address
from support.foreign.messages import Error, Request, Response
from support.foreign.network import HD_1, HD_2, LS, PROXY, Network
from support.foreign.records import entries_of
from support.foreign.tunnel import dial

VECTORS = Path(__file__).parent.parent / "vectors"
WAIT = 20.0


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


def echo(method: str, params: dict[str, Any], request_id: str) -> Any:
    return {"method": method, "id": request_id, "said": params.get("say"), "from": params["_client"]["name"]}


# --- messages, forms, directory


@pytest.mark.parametrize(
    "request_",
    [Request("b.m", {}, "b.m(1)"), Request("b.m", {"a": [1, None, {"b": 1.5}], "c": None, "d": "ä"}, "b.m(2)", "a")],
)
def test_requests_survive_the_wire(request_: Request) -> None:
    assert messages.decode_request(messages.encode_request(request_)) == request_


@pytest.mark.parametrize(
    "response",
    [Response("1"), Response("1", {}), Response("1", {"a": True}), Response("1", None, Error(-7, "no", {"x": 1}))],
)
def test_responses_survive_the_wire(response: Response) -> None:
    assert messages.decode_response(messages.encode_response(response)) == response


@pytest.mark.parametrize("case", json.loads((VECTORS / "address.json").read_text()))
def test_addresses_parse_as_recorded(case: dict[str, Any]) -> None:
    if "address" not in case:
        with pytest.raises(BadForm):
            parse_address(case["id"])
    else:
        assert parse_address(case["id"]) == (*case["address"].values(),)


def test_rights_are_as_recorded() -> None:
    for case in json.loads((VECTORS / "permissions.json").read_text())["can_call"]:
        directory = Directory([{**case["callee"], "preferences": None}, {**case["caller"], "preferences": None}])
        allowed = directory.may_call(case["caller"]["name"], case["callee"]["name"], case["method"])
        assert allowed == case["can_call"]


def test_entries_that_peers_in_use_cannot_read_upset_them() -> None:
    with pytest.raises(Upset, match="preferences"):
        Directory([{"name": "a", "preferences": [{}]}])
    with pytest.raises(Upset, match="address"):
        Directory([{"name": "a", "channels": [{"type": "grpc_server", "settings": {"proxy": "p"}}]}])


def test_the_development_directory_upsets_nobody() -> None:
    base = Path(__file__).parents[2] / "settings" / "dev" / "directory" / "001_base.json"
    records = json.loads(base.read_text())["records"]
    directory = Directory(
        entries_of([{"record": record, "parent_hash": index} for index, record in enumerate(records)])
    )
    assert directory.stream_targets(HD_2) == [PROXY]
    assert directory.may_call(HD_1, HD_2, "_ping")
    assert directory.may_call(HD_1, PROXY, "requestConnection")
    assert directory.may_call(PROXY, HD_2, "_connectionRequest")
    assert not directory.may_call(LS, HD_2, "_ping")


def test_a_client_needs_a_name_an_entry_and_channels() -> None:
    good = {"name": "a", "entry": {"name": "a", "channels": [], "groups": None}, "extra": 1}
    check_client(good, "client")
    for spoilt in ({}, {"name": "a"}, {**good, "entry": {"name": "a"}}, {**good, "entry": {"channels": []}}):
        with pytest.raises(BadForm):
            check_client(spoilt, "client")
    token = base64.b64encode(bytes(31)).decode()
    with pytest.raises(BadForm, match="32 bytes"):
        check_connection_request({"client": good, "channel": "c", "endpoint": "e", "token": token})


# --- calls


def test_a_direct_call_opens_a_connection_of_its_own(network: Network) -> None:
    network.run(LS, echo)
    caller = network.run(HD_1)
    for number in range(3):
        answer = caller.call("ls-1.lookup", {"say": number})
        assert answer.result is not None
        assert answer.result["said"] == number
        assert answer.result["from"] == HD_1
    assert caller.client.dialled == [LS] * 3
    assert len(network.servers[LS].server.peers) == 3


def test_kept_connections_are_a_switch(network: Network) -> None:
    network.run(LS, echo)
    caller = network.run(HD_1, connection_per_call=False)
    for _ in range(3):
        assert caller.call("ls-1.lookup").error is None
    assert len(network.servers[LS].server.peers) == 1


def test_permission_unknown_operators_and_bad_addresses_are_refused(network: Network) -> None:
    network.run(LS, echo)
    caller = network.run(HD_1)
    denied = caller.call("ls-1.remove")
    assert denied.error is not None
    assert denied.error.code == 403
    with pytest.raises(BadForm, match="no entry for nobody"):
        caller.call("nobody.m")
    with pytest.raises(BadForm, match="invalid ID format"):
        caller.call("ls-1")


def test_the_right_is_checked_by_the_id_and_the_method_is_delivered(network: Network) -> None:
    callee = network.run(LS, echo)
    request = Request("ls-1.forbidden", {}, "ls-1.lookup(1)")
    delivered = callee.deliver(request, HD_1)
    assert delivered.result is not None
    assert delivered.result["method"] == "forbidden"
    callee.habits.right_by_id = False
    refused = callee.deliver(request, HD_1)
    assert refused.error is not None
    assert refused.error.code == 403


def test_an_id_in_flight_is_refused_from_any_caller(network: Network) -> None:
    entered, release = threading.Event(), threading.Event()

    def slow(method: str, params: dict[str, Any], request_id: str) -> Any:
        entered.set()
        assert release.wait(WAIT)
        return {}

    network.run(LS, slow)
    first, second = network.run(HD_1), network.run(HD_2)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(first.call, "ls-1.lookup", {}, "same")
        assert entered.wait(WAIT)
        refused = second.call("ls-1.lookup", {}, "same")
        release.set()
        assert running.result(WAIT).error is None
    assert refused.error is not None
    assert "already in flight" in refused.error.message
    assert "UNKNOWN" in refused.error.message


def test_a_certificate_that_is_not_pinned_is_refused(network: Network) -> None:
    network.run(LS, echo)
    caller = network.run(HD_1)
    entries = [{**entry, "certificates": []} if entry["name"] == HD_1 else entry for entry in network.directory.entries]
    network.directory.replace(entries)
    answer = caller.call("ls-1.lookup")
    assert answer.error is not None
    assert "pinned" in answer.error.message


def test_the_name_that_was_dialled_is_verified(network: Network) -> None:
    caller, other = network.run(HD_1), network.run(HD_2)
    network.publish(**{LS: other.address})
    answer = caller.call("ls-1.lookup")
    assert answer.error is not None
    assert "UNAVAILABLE" in answer.error.message


# --- streams


def test_requests_down_a_stream_are_answered_in_order(network: Network) -> None:
    server = network.run(PROXY)
    holder = network.run(HD_2, echo).hold_stream(PROXY)
    assert server.server.wait_connected(HD_2)
    answer = server.call("hd-2._connectionRequest", {})
    assert answer.error is not None
    assert answer.error.code == 1
    assert [request.method for request in holder.received] == ["hd-2._connectionRequest"]
    assert all(request.id == answer.id for request, answer in server.server.answers)


def test_streams_go_where_the_directory_says(network: Network) -> None:
    server, client = network.run(PROXY), network.run(HD_1)
    client.hold_streams()
    assert list(client.streams) == [PROXY]
    assert server.server.wait_connected(HD_1)
    assert server.directory.stream_targets(PROXY) == []


def test_pings_over_a_stream_get_neither_result_nor_error(network: Network) -> None:
    server = network.run(PROXY)
    client = network.run(HD_2)
    network.directory.replace(
        {**entry, "groups": ["health-departments", "proxy-providers"]} if entry["name"] == PROXY else entry
        for entry in network.entries
    )
    client.hold_stream(PROXY)
    assert server.server.wait_connected(HD_2)
    answer = server.call("hd-2._ping")
    assert answer.result is None
    assert answer.error is None


def test_a_stream_that_broke_is_opened_again_but_never_one_that_ended_with_ok(network: Network) -> None:
    endings = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK]

    def serve(incoming: Iterator[Response], context: grpc.ServicerContext) -> Iterator[Request]:
        next(incoming)
        code = endings.pop(0)
        if code is not grpc.StatusCode.OK:
            context.abort(code, "as the test wants it")
        yield from ()

    with _one_method_server(network, serve) as port:
        network.publish(**{PROXY: f"127.0.0.1:{port}"})
        holder = network.run(HD_2).hold_stream(PROXY)
        assert holder.wait_ended(2, WAIT)
        assert holder.spun
        assert holder.endings == [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK]
        assert not holder.wait_opened(3, 0.5)


class _one_method_server:
    def __init__(self, network: Network, serve: Any) -> None:
        self._pool = ThreadPoolExecutor(4)
        self._server = grpc.server(self._pool)
        handler = grpc.stream_stream_rpc_method_handler(serve, messages.decode_response, messages.encode_request)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(messages.SERVICE, {"ServerCall": handler}),)
        )
        tls = network.tls(PROXY)
        credentials = grpc.ssl_server_credentials([(tls.key_pem, tls.cert_pem)], tls.root_pem, True)
        self._port: int = self._server.add_secure_port("127.0.0.1:0", credentials)

    def __enter__(self) -> int:
        self._server.start()
        return self._port

    def __exit__(self, *exc_info: object) -> None:
        self._server.stop(0).wait()
        self._pool.shutdown()


def test_the_operator_is_forgotten_when_the_older_of_two_streams_ends(network: Network) -> None:
    server, client = network.run(PROXY), network.run(HD_2)
    older = client.hold_stream(PROXY)
    assert server.server.wait_connected(HD_2)
    del client.streams[PROXY]
    client.hold_stream(PROXY)
    assert server.server.wait_streams(HD_2, 2)
    older.close()
    assert server.server.wait_connected(HD_2, connected=False)
    assert server.server.wait_streams(HD_2, 1)
    assert server.server.ended_while_newer_was_open == [HD_2]


def test_the_next_message_is_the_answer_whatever_its_id(network: Network) -> None:
    server = network.run(PROXY)
    caller = network.run(HD_2)
    channel = caller.dial(PROXY)
    outgoing: list[Response] = [Response("1", {"name": HD_2}), Response("wrong", {"said": "this"})]
    stream = channel.stream_stream(messages.SERVER_CALL, messages.encode_response, messages.decode_request)
    call = stream(_then_wait(outgoing, done := threading.Event()))
    assert server.server.wait_connected(HD_2)
    assert server.call("hd-2.echo").result == {"said": "this"}
    request, answer = server.server.answers[0]
    assert (request.method, answer.id) == ("hd-2.echo", "wrong")
    call.cancel()
    done.set()
    channel.close()


def _then_wait(items: list[Response], done: threading.Event) -> Iterator[Response]:
    yield from items
    done.wait(WAIT)


def test_a_stream_under_another_name_is_refused(network: Network) -> None:
    network.run(PROXY)
    client = network.run(HD_2)
    client.habits.reopen_after = 60.0
    client.name = HD_1  # announces hd-1 under hd-2's certificate
    holder = client.hold_stream(PROXY)
    assert holder.wait_ended(1, WAIT)
    assert holder.endings == [grpc.StatusCode.UNKNOWN]


def test_connections_without_streams_end_after_the_idle_time(network: Network) -> None:
    callee = network.run(LS, echo, idle_seconds=0.2)
    caller = network.run(HD_1, connection_per_call=False)
    assert caller.call("ls-1.lookup").error is None
    states: list[grpc.ChannelConnectivity] = []
    idle = threading.Event()

    def watch(state: grpc.ChannelConnectivity) -> None:
        states.append(state)
        if state is grpc.ChannelConnectivity.IDLE:
            idle.set()

    caller.client.keep(LS, network.servers[LS].address).subscribe(watch)
    assert idle.wait(WAIT)
    assert caller.call("ls-1.lookup").error is None
    assert len(callee.server.peers) == 2


# --- six steps


@pytest.fixture
def brokered(network: Network) -> Network:
    proxy = network.run_proxy()
    network.run(HD_1, echo)
    network.run(HD_2, echo).hold_streams()
    assert network.servers[PROXY].server.wait_connected(HD_2)
    assert proxy.relay.joined == 0
    return network


def test_six_steps_among_foreign_peers(brokered: Network) -> None:
    assert brokered.proxy is not None
    for number in (1, 2):
        answer = brokered.servers[HD_1].call("hd-2._ping", {"n": number})
        assert answer.result is not None
        assert answer.result["serverInfo"]["name"] == HD_2
        assert answer.result["params"]["n"] == number
        assert brokered.proxy.relay.joined == number  # a tunnel per call
    assert brokered.servers[HD_1].client.dialled == [PROXY, HD_2] * 2
    pumps = brokered.servers[HD_2].pumps
    assert len(pumps) == 2


def test_six_steps_through_local_json_rpc(brokered: Network) -> None:
    endpoint = brokered.run_rpc(HD_1).endpoint
    client = brokered.rpc_client(endpoint, HD_1, HD_1)
    answer = client.call("hd-2._ping", {}, 7)
    assert answer.status == 200
    assert answer.id == 7
    assert answer.result["params"]["_client"]["name"] == HD_1
    unknown = client.call("hd-9._ping", {}, "1")
    assert unknown.status == 400
    assert unknown.error is not None
    assert unknown.error["code"] == 1


def test_an_error_of_b_is_passed_on_to_a(brokered: Network) -> None:
    brokered.servers[HD_2].streams[PROXY].close()
    assert brokered.servers[PROXY].server.wait_connected(HD_2, connected=False)
    answer = brokered.servers[HD_1].call("hd-2._ping")
    assert answer.error is not None
    assert answer.error.code == 500


def test_a_joined_connection_is_cut_at_a_constant_age(network: Network) -> None:
    proxy = network.run_proxy(cut_after=0.5)
    entered, release = threading.Event(), threading.Event()

    def slow(method: str, params: dict[str, Any], request_id: str) -> Any:
        entered.set()
        release.wait(WAIT)
        return {}

    caller = network.run(HD_1)
    network.run(HD_2, slow).hold_streams()
    assert network.servers[PROXY].server.wait_connected(HD_2)
    answer = caller.call("hd-2.echo")
    release.set()
    assert entered.is_set()
    assert answer.error is not None
    assert "UNAVAILABLE" in answer.error.message
    assert proxy.relay.wait_for("cut", 1)


@pytest.mark.parametrize(("sent", "why"), [(bytes(16), "short token"), (bytes(32), "unknown token")])
def test_a_token_must_come_whole_in_one_read(network: Network, sent: bytes, why: str) -> None:
    relay = network.run_proxy().relay
    relay.expect(bytes(16) + b"x" * 16)
    with dial(relay.endpoint) as sock:
        sock.settimeout(WAIT)
        sock.sendall(sent)
        assert sock.recv(1) == b""
    assert relay.rejected == [why]


def test_halves_are_joined_and_lonely_ones_closed(network: Network) -> None:
    relay = network.run_proxy(accept_timeout=2).relay
    for token in (b"1" * 32, b"2" * 32):
        relay.expect(token)
    with dial(relay.endpoint) as first, dial(relay.endpoint) as second, dial(relay.endpoint) as lonely:
        for sock, token in ((first, b"1"), (second, b"1"), (lonely, b"2")):
            sock.settimeout(WAIT)
            sock.sendall(token * 32)
        first.sendall(b"to the second")
        assert second.recv(100) == b"to the second"
        second.sendall(b"and back")
        second.shutdown(socket.SHUT_WR)
        assert first.recv(100) == b"and back"
        assert first.recv(100) == b""
        first.sendall(b"still open this way")
        assert second.recv(100) == b"still open this way"
        assert lonely.recv(1) == b""
    assert relay.rejected == ["alone"]


def test_closing_does_not_wait_for_calls_without_a_deadline() -> None:
    release = threading.Event()
    before = threading.active_count()
    with ThreadPoolExecutor(1) as pool, Network() as network:
        network.run(LS, lambda *_: release.wait(WAIT))
        caller = network.run(HD_1)
        running = pool.submit(caller.call, "ls-1.lookup")
        while not network.servers[LS].server.calls:
            pass
        caller.client.close()
        assert running.result(WAIT).error is not None
        release.set()
    assert threading.active_count() <= before
