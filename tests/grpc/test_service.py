"""The two names of the gRPC service, and when a call may go out under the other one."""

import h2.events as h2e
import pytest

from eps.core.event import Refused
from eps.errors import DeliveryError, Outcome
from eps.grpc import eps_pb2 as pb
from eps.grpc.service import EPS, HYPER, SpokenName, no_such_path
from support.grpc_rig import Raw, against, ping, prefixed, rig, soon, struct

ANSWER = pb.Response(id="hd-2._ping(1)", result=struct(x=1))


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        ("unknown service EPS", True),
        ("unknown method Call for service EPS", True),
        ("Method not found!", True),
        ("Method not found: EPS/Call", True),
        ("The server does not implement the method /EPS/Call", True),
        ("unknown method /EPS/Call", True),
        ("", False),
        ("Method not implemented!", False),
        ("method Call not implemented", False),
        ("unknown service locations", False),
        ("unknown service Hyper", False),
        ("compressed messages are not accepted", False),
    ],
)
def test_what_says_for_certain_that_there_is_no_such_path(text: str, certain: bool) -> None:
    assert no_such_path(EPS, text) is certain


def test_what_is_known_of_a_peer() -> None:
    spoken = SpokenName()
    assert spoken.current == EPS
    assert spoken.refused(EPS)
    assert spoken.refused(EPS), "calls that were under way at the same time may all go on"
    assert spoken.current == HYPER
    spoken.understood(HYPER)
    spoken.doubted(HYPER)
    assert spoken.current == HYPER, "a name that was understood is not doubted"
    assert spoken.refused(HYPER)
    assert not spoken.refused(EPS)
    assert spoken.current == EPS


class Answers:
    """A server that answers each request with a status, by the path's order of coming.

    Attributes:
        asked: the paths.
    """

    def __init__(self, *texts: str | None) -> None:
        self.asked: list[str] = []
        self._texts = texts

    async def __call__(self, raw: Raw) -> None:
        await raw.start()
        for text in self._texts:
            request = await raw.until(h2e.RequestReceived)
            self.asked.append(dict(request.headers)[":path"])
            await raw.until(h2e.StreamEnded)
            if text is None:
                raw.respond(request.stream_id, ANSWER)
            else:
                fixed = [(":status", "200"), ("content-type", "application/grpc")]
                only = [*fixed, ("grpc-status", "12"), ("grpc-message", text)]
                raw.h2.send_headers(request.stream_id, only, end_stream=True)
            await raw.flush()
        await raw.goaway()


async def test_the_other_name_is_tried_once_and_remembered() -> None:
    script = Answers("unknown service EPS", None, None)
    async with against(script) as connection:
        assert await connection.call(ping(), 5) == ANSWER
        assert await connection.call(ping(), 5) == ANSWER
    assert script.asked == ["/EPS/Call", "/Hyper/Call", "/Hyper/Call"]


async def test_neither_name() -> None:
    script = Answers("unknown service EPS", "unknown service Hyper", None)
    async with against(script) as connection:
        with pytest.raises(DeliveryError, match="has no gRPC service named EPS: unknown service EPS") as caught:
            await connection.call(ping(), 5)
        assert caught.value.outcome is Outcome.NOT_SENT
        assert await connection.call(ping(), 5) == ANSWER
    assert script.asked == ["/EPS/Call", "/Hyper/Call", "/EPS/Call"]


async def test_a_handlers_unimplemented_is_never_repeated() -> None:
    script = Answers("that part is not done yet", None)
    async with against(script) as connection:
        with pytest.raises(DeliveryError, match="hd-2 answered UNIMPLEMENTED: that part") as caught:
            await connection.call(ping(), 5)
        assert caught.value.outcome is Outcome.FAILED
        assert await connection.call(ping(), 5) == ANSWER
    assert script.asked == ["/EPS/Call", "/EPS/Call"]


async def test_an_unimplemented_without_a_word_is_not_repeated_but_the_next_call_asks_for_the_other_name() -> None:
    script = Answers("", None, "", None)
    async with against(script) as connection:
        with pytest.raises(DeliveryError, match="UNIMPLEMENTED"):
            await connection.call(ping(), 5)
        assert await connection.call(ping(), 5) == ANSWER
        with pytest.raises(DeliveryError, match="UNIMPLEMENTED"):
            await connection.call(ping(), 5)
        assert await connection.call(ping(), 5) == ANSWER
    assert script.asked == ["/EPS/Call", "/Hyper/Call", "/Hyper/Call", "/Hyper/Call"]


async def test_a_refused_path_is_told_with_its_name() -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        for number, path in enumerate(["/Iris/Call", "/EPS/Other", "/" + "x" * 500]):
            stream = 2 * number + 1
            raw.h2.send_headers(stream, raw.request_headers(path))
            raw.h2.send_data(stream, prefixed(ping().SerializeToString()), end_stream=True)
            await raw.flush()
            answer = await raw.until(h2e.ResponseReceived)
            assert dict(answer.headers)["grpc-status"] == "12"
        told = [event for event in it.events.of(Refused) if event.why == "path"]
        assert "hd-1: asked for '/Iris/Call', which" in told[0].detail
        assert "'/EPS/Other'" in told[1].detail
        assert len(told[2].detail) < 200
        levels = [event.level.value for event in told]
        assert levels == ["warn", "debug", "debug"], "one a second, whatever strangers do"
        await raw.close()


@pytest.mark.parametrize("service", [EPS, HYPER])
async def test_the_server_answers_to_both_names(service: str) -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        raw.h2.send_headers(1, raw.request_headers(f"/{service}/Call"))
        raw.h2.send_data(1, prefixed(ping().SerializeToString()), end_stream=True)
        await raw.flush()
        answer = await soon(raw.until(h2e.TrailersReceived))
        assert dict(answer.headers)["grpc-status"] == "0"
        await raw.close()
