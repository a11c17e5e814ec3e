"""What comes back down a stream that an operator holds to us."""

from typing import cast

import pytest

from eps.channels.connected import ConnectedStream
from eps.channels.grpc_server import _send_down
from eps.core.address import Address
from eps.core.message import Asker, Request, Response
from eps.core.names import Operator
from eps.core.told import error_response
from eps.errors import NotSent
from eps.grpc import codec
from eps.grpc import eps_pb2 as pb
from eps.reasons import Reason

A, B = Operator("hd-1"), Operator("hd-2")


class Holder:
    """A stream of ``operator``, down which every call is answered alike."""

    operator = B

    def __init__(self, teller: str) -> None:
        error = NotSent("it is stopping", reason=Reason.STOPPING)
        self.answer = error_response("hd-2.f(1)", error, teller)

    async def call(self, request: pb.Request, timeout: float, asker: Asker) -> pb.Response:
        return codec.encode_response(self.answer, request.id)


async def call(teller: str) -> Response:
    request = Request(Address(B, "f", "1"), {})
    return await _send_down(cast(ConnectedStream, Holder(teller)), request, A, 5.0)


async def test_a_server_that_stops_has_not_begun_the_call() -> None:
    with pytest.raises(NotSent, match="is stopping") as raised:
        await call(B)
    assert raised.value.reason is Reason.STOPPING


@pytest.mark.parametrize("teller", ["", "hd-3"])
async def test_an_application_that_passes_on_what_another_server_said_has_begun_it(teller: str) -> None:
    """It is told as it is: sent again, the call would run twice."""
    answer = await call(teller)
    assert answer.error is not None
    assert answer.error.message.endswith("it is stopping")
