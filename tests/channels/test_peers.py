"""A peer's errors, as they are told to our own callers."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from eps.channels.peers import DirectoryPins, answer_request, from_peer, read_answer, sender_of
from eps.core.address import parse_address
from eps.core.message import Error, Request, Response, Unread
from eps.core.names import Fingerprint, Operator
from eps.core.trace import CURRENT, Trace
from eps.errors import EpsError, NotFound, TlsFailed
from eps.grpc import codec
from eps.grpc import eps_pb2 as pb
from eps.pki import Authority
from eps.transport.tls import PeerIdentity, identify, no_longer_pinned
from support.fakes import FakeSource, network_directory


def passed_on(code: int, data: Any) -> Any:
    error = from_peer(Response("1", error=Error(code, "m", data)), Operator("hd-2")).error
    assert error is not None and (error.code, error.message) == (code, "m")
    return error.data


@pytest.mark.parametrize("code", [7, 404, 500, -32601])
@pytest.mark.parametrize("data", [{}, None, 0, "", [], "text", {"side": "ours"}, {"hint": "x"}])
def test_an_application_s_own_error_stays_as_it_is(code: int, data: Any) -> None:
    assert passed_on(code, data) == data


def test_what_a_server_calls_its_own_side_is_the_peer_s() -> None:
    data = {"stage": "call", "side": "ours", "outcome": "failed", "hint": "mend it"}
    assert passed_on(500, data) == {**data, "side": "peer"}


def test_what_a_server_says_for_itself_is_quoted_with_its_name_and_reasons_are_seen_from_here() -> None:
    data = {"side": "ours", "outcome": "not_sent", "reason": "own-pin", "hint": "x" * 400, "told_by": "hd-2"}
    error = from_peer(Response("1", error=Error(500, "no\n" + "x" * 400, data)), Operator("hd-2")).error
    assert error is not None
    assert error.message.startswith("hd-2 reports: no\\nxxx") and len(error.message) == 314
    assert (error.data["side"], error.data["reason"], len(error.data["hint"])) == ("peer", "peer-pin", 300)
    odd = {"told_by": "hd-2", "reason": "their word", "hint": 7}
    error = from_peer(Response("1", error=Error(500, "no", odd)), Operator("hd-2")).error
    assert error is not None and error.data == {**odd, "hint": ""}


@pytest.mark.parametrize(
    ("of_our_kind", "teller", "is_believed"),
    [(True, "hd-2", True), (True, "hd-1", False), (False, "hd-2", False), (None, "hd-2", False)],
    ids=["its own", "another's", "in use", "nobody knows"],
)
async def test_who_speaks_as_a_server(of_our_kind: bool | None, teller: str, is_believed: bool) -> None:
    """Servers in use pass on what their applications say, and nobody speaks for another operator."""
    data = {"stage": "call", "side": "ours", "outcome": "not_sent", "hint": "", "told_by": teller}
    message = codec.encode_response(Response("", error=Error(500, "no", data)), "hd-2.f(1)")
    trace = None if of_our_kind is None else Trace("1" * 32)
    if trace is not None:
        trace.of_our_kind = bool(of_our_kind)
    before = CURRENT.set(trace)
    try:
        answer = await read_answer(message, Request(parse_address("hd-2.f(1)"), {}))
        tunnel = await read_answer(message, Request(parse_address("hd-2._connectionRequest(1)"), {}))
    finally:
        CURRENT.reset(before)
    assert answer.error is not None and tunnel.error is not None
    assert (answer.error.message, "told_by" in answer.error.data) == (
        ("hd-2 reports: no", True) if is_believed else ("no", False)
    )
    assert tunnel.error.data["told_by"] == teller, "questions for tunnels pass several servers"


def test_what_others_say_is_nobody_s_to_quote() -> None:
    for data in ({"told_by": "hd-7"}, {"told_by": ["hd-2"]}):
        assert passed_on(500, data) == data


def test_a_missing_right_of_which_a_server_says_no_more_failed_there() -> None:
    assert passed_on(403, {}) == {"stage": "permission", "side": "peer", "outcome": "failed"}
    assert passed_on(403, ["theirs"]) == ["theirs"]


def test_an_answer_without_an_error_stays_as_it_is() -> None:
    response = Response("1", {"side": "ours"})
    assert from_peer(response, Operator("hd-2")) is response


async def test_sender_id_and_method_are_read_in_any_order_and_the_last_one_counts() -> None:
    """Fields of a protobuf message: whoever read only the first id would judge another call than the one that runs."""
    first = pb.Request(method="hd-2.harmless", id="hd-2.harmless(1)", clientName="hd-1")
    params = codec.encode_request(Request(codec.decode_address(first), {"a": 1}), Operator("hd-1")).params
    pieces = [
        pb.Request(params=b"\x01"),
        first,
        pb.Request(clientName="hd-1b"),
        pb.Request(params=params),
        pb.Request(id="hd-2.other(2)"),
        pb.Request(method="hd-2.other"),
    ]
    message = pb.Request.FromString(b"".join(piece.SerializeToString() for piece in pieces))
    peer = PeerIdentity((Operator("hd-1"), Operator("hd-1b")), Fingerprint("f"))
    asked: list[tuple[Request, Operator]] = []

    async def deliver(request: Request | Unread, sender: Operator) -> Response:
        assert isinstance(request, Unread)
        asked.append((await request.read(), sender))
        return Response("", "done")

    answer = await answer_request(Operator("hd-2"), deliver, peer, message, lambda name: frozenset([peer.fingerprint]))
    assert answer.id == "hd-2.other(2)"
    request, sender = asked[0]
    assert (str(request.address), request.params, sender) == ("hd-2.other(2)", {"a": 1}, "hd-1b")


def test_a_pin_failure_says_how_old_the_directory_is() -> None:
    source = FakeSource(network_directory())
    der = Authority.create(fast=True).issue_tls("hd-1").certificate.public_bytes(Encoding.DER)
    with pytest.raises(TlsFailed, match=r"for none of its names \(hd-1.*\); the directory is a test's \(if"):
        identify(der, DirectoryPins(source))
    with pytest.raises(TlsFailed, match=r"for none of its names \(hd-1[^)]*\) \(if"):
        identify(der, lambda name: frozenset())
    with pytest.raises(
        NotFound, match=r"does not prove the clientName 'hd-9'; the directory is a test's \(a server may"
    ):
        sender_of(PeerIdentity((Operator("hd-1"),), Fingerprint("a")), "hd-9", DirectoryPins(source))


def test_a_refusal_for_the_directorys_age_says_so_and_what_to_do() -> None:
    source = FakeSource(network_directory(empty=True))
    source.refused = "the directory was confirmed 3 days ago, so nobody is trusted"
    pins = DirectoryPins(source)
    der = Authority.create(fast=True).issue_tls("hd-1").certificate.public_bytes(Encoding.DER)
    peer = PeerIdentity((Operator("hd-1"),), Fingerprint("a"))
    for ask in (lambda: identify(der, pins), lambda: sender_of(peer, "", pins)):
        with pytest.raises(EpsError, match="; the directory was confirmed 3 days ago, so nobody is trusted") as caught:
            ask()
        assert caught.value.hint.startswith("see why no service directory of directory.settings.endpoints answers")
    assert no_longer_pinned(pins).startswith(
        "the directory no longer pins its certificate; the directory was confirmed"
    )
