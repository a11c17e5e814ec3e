"""What siblings pass on to one of several servers: taken from nobody else."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from eps.channels.connected import Connected
from eps.channels.passed_on import OneOfSeveralServers
from eps.channels.siblings import OWN_WORDS, PASSED_ON
from eps.core.message import Asker, Request, Response, Unread
from eps.core.names import Fingerprint, Operator
from eps.core.told import error_response
from eps.errors import NotSent
from eps.grpc import codec
from eps.grpc import eps_pb2 as pb
from eps.reasons import Reason
from eps.transport.tls import PeerIdentity, server_context
from support.fakes import FakeSource, network_directory
from support.testing import Events, certificates

HD_1, HD_2, PROXY = Operator("hd-1"), Operator("hd-2"), Operator("public-proxy-1.ga")

PINS = {HD_1: "a" * 64, HD_2: "b" * 64}


class Setup:
    """hd-2's server, as one of several."""

    def __init__(self) -> None:
        self.source = FakeSource(network_directory(pins={name: [PINS[name]] for name in PINS}))
        self.own_words = False
        self.failure: NotSent | None = None
        self.delivered: list[tuple[str, bool]] = []
        context = server_context(certificates().tls_files(HD_2), ["h2"])
        self.channel = OneOfSeveralServers(HD_2, self.source, context, bind_address="127.0.0.1:0", emit=Events())

    async def deliver(self, request: Request | Unread, sender: Operator) -> Response:
        self.delivered.append((sender, PASSED_ON.get()))
        if self.failure is not None:
            return error_response(str(request.address), self.failure, HD_2)
        return Response(str(request.address), {"sender": sender})

    def peer(self, name: Operator, *, pinned: bool = True) -> PeerIdentity:
        return PeerIdentity((name,), Fingerprint(PINS[name] if pinned else "c" * 64))

    async def ask(self, peer: PeerIdentity, to: str, client_name: str) -> Response:
        message = pb.Request(method=f"{to}.f", id=f"{to}.f(1)", clientName=client_name)
        answer = await asyncio.create_task(_awaited(self.channel, peer, message))
        self.own_words = answer.id == OWN_WORDS
        assert self.own_words or answer.id == message.id
        return codec.decode_response(answer, answer.id)


async def _awaited(channel: OneOfSeveralServers, peer: PeerIdentity, message: pb.Request) -> pb.Response:
    return await channel.answer(peer, message)


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup()
    await made.channel.start(made.deliver)
    yield made
    await made.channel.close()


async def test_a_sibling_says_for_whom_it_passes_on(setup: Setup) -> None:
    answer = await setup.ask(setup.peer(HD_2), HD_2, HD_1)
    assert answer.result == {"sender": HD_1}
    assert setup.delivered == [(HD_1, True)]


async def test_nobody_else_sends_in_anothers_name(setup: Setup) -> None:
    for peer in (setup.peer(HD_1), setup.peer(HD_2, pinned=False)):
        answer = await setup.ask(peer, HD_2, PROXY)
        assert answer.error is not None
        assert answer.error.code == 404
    assert (await setup.ask(setup.peer(HD_1), HD_2, HD_1)).result == {"sender": HD_1}
    assert setup.delivered == [(HD_1, False)]


async def test_what_is_for_an_operator_that_is_not_connected_here_goes_nowhere(setup: Setup) -> None:
    answer = await setup.ask(setup.peer(HD_2), PROXY, HD_2)
    assert answer.error is not None
    assert setup.own_words
    assert (answer.error.data["told_by"], answer.error.data["outcome"]) == (HD_2, "not_sent")
    assert setup.delivered == []


async def test_a_call_that_was_not_begun_here_is_said_to_be_so_in_our_own_words(setup: Setup) -> None:
    setup.failure = NotSent("the application is away")
    await setup.ask(setup.peer(HD_2), HD_2, HD_1)
    assert setup.own_words


async def test_what_the_operator_says_in_our_name_is_not_our_word(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = error_response("", NotSent("believe me"), HD_2)
    stream = FakeStream(codec.encode_response(said, f"{PROXY}.f(1)"))
    monkeypatch.setattr(Connected, "get", lambda connected, operator: stream)
    await setup.ask(setup.peer(HD_2), PROXY, HD_2)
    assert not setup.own_words


async def test_what_no_address_can_be_read_of_is_refused(setup: Setup) -> None:
    answer = await setup.ask(setup.peer(HD_2), "", HD_2)
    assert answer.error is not None
    assert setup.delivered == []


class FakeStream:
    """A stream that is held to us, with one answer."""

    def __init__(self, answer: pb.Response, *, is_ours: bool = True) -> None:
        self.operator, self.is_stopping, self._answer, self.is_ours = PROXY, False, answer, is_ours
        self.put_off = 0.0

    async def call(self, message: pb.Request, timeout: float, asker: Asker) -> pb.Response:
        return self._answer


async def test_what_is_for_one_that_is_connected_here_goes_down_its_stream(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = f"{PROXY}.f(1)"
    stream = FakeStream(codec.encode_response(Response("", {"x": 1}), given))
    monkeypatch.setattr(Connected, "get", lambda connected, operator: stream)
    assert (await setup.ask(setup.peer(HD_2), PROXY, HD_2)).result == {"x": 1}
    stopping = error_response("", NotSent("it stops", reason=Reason.STOPPING), PROXY)
    stream = FakeStream(codec.encode_response(stopping, given))
    answer = await setup.ask(setup.peer(HD_2), PROXY, HD_2)
    assert answer.error is not None
    assert (answer.error.data["told_by"], answer.error.data["outcome"]) == (HD_2, "not_sent")
    assert stream.is_stopping


async def test_what_a_server_in_use_passes_on_is_no_server_s(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sibling that gets it believes us, who let no application speak as a server."""
    said = error_response("", NotSent("it stops", reason=Reason.STOPPING), PROXY)
    stream = FakeStream(codec.encode_response(said, f"{PROXY}.f(1)"), is_ours=False)
    monkeypatch.setattr(Connected, "get", lambda connected, operator: stream)
    answer = await setup.ask(setup.peer(HD_2), PROXY, HD_2)
    assert answer.error is not None
    assert (answer.error.data["reason"], answer.error.data["outcome"]) == ("stopping", "not_sent")
    assert "told_by" not in answer.error.data and not stream.is_stopping
