"""What comes back down a stream that an operator holds to us."""

from typing import cast

import pytest

from eps.channels.connected import ConnectedStream
from eps.channels.grpc_server import _send_down, check_begun
from eps.core.address import Address
from eps.core.message import Asker, Request, Response
from eps.core.names import Operator
from eps.core.told import error_response
from eps.core.trace import CURRENT, Trace
from eps.errors import NotSent
from eps.grpc import codec
from eps.grpc import eps_pb2 as pb
from eps.reasons import Reason

A, B = Operator("hd-1"), Operator("hd-2")


class Holder:
    """A stream of ``operator``, down which every call is answered alike."""

    operator = B

    def __init__(self, teller: str, *, is_ours: bool) -> None:
        self.is_ours = self.is_stopping = is_ours
        error = NotSent("it is stopping", reason=Reason.STOPPING)
        self.answer = error_response("hd-2.f(1)", error, teller)

    async def call(self, request: pb.Request, timeout: float, asker: Asker) -> pb.Response:
        return codec.encode_response(self.answer, request.id)


async def call(teller: str, *, is_ours: bool = True) -> Response:
    request = Request(Address(B, "f", "1"), {})
    trace = Trace("1" * 32)
    trace.of_our_kind = is_ours  # as the stream's call sets it
    before = CURRENT.set(trace)
    try:
        return await _send_down(cast(ConnectedStream, Holder(teller, is_ours=is_ours)), request, A, 5.0)
    finally:
        CURRENT.reset(before)


async def test_a_server_that_stops_has_not_begun_the_call() -> None:
    with pytest.raises(NotSent, match="is stopping") as raised:
        await call(B)
    assert raised.value.reason is Reason.STOPPING


async def test_behind_a_server_in_use_only_an_application_can_have_said_so() -> None:
    answer = await call(B, is_ours=False)
    assert answer.error is not None and "told_by" not in answer.error.data
    check_begun(error_response("", NotSent("", reason=Reason.STOPPING), B).error, Holder(B, is_ours=False))  # type: ignore[arg-type]


@pytest.mark.parametrize("teller", ["", "hd-3"])
async def test_an_application_that_passes_on_what_another_server_said_has_begun_it(teller: str) -> None:
    """It is told as it is: sent again, the call would run twice."""
    answer = await call(teller)
    assert answer.error is not None
    assert answer.error.message.endswith("it is stopping")
