"""The ``grpc_server`` channel of one of several servers of an operator: it takes what siblings pass on, too.

A peer with our own operator's certificate is a sibling (``channels.siblings``). What it passes on to us is answered as
if its sender had come here; what it has for another operator goes down the stream that this holds to us, or nowhere.
"""

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from eps.channels import Way
from eps.channels.grpc_server import GrpcServerChannel, check_begun
from eps.channels.peers import answer_request_of, asker_of, is_of
from eps.channels.siblings import PASSED_ON, Passing, as_own_words, own_words, seconds_of
from eps.core.message import Response
from eps.core.names import Operator
from eps.core.told import anonymous, error_response
from eps.errors import EpsError, NoRoute
from eps.grpc import codec
from eps.grpc import eps_pb2 as pb
from eps.transport.tls import PeerIdentity


class WhyAbsent:
    """The last of all outbound channels: says why an operator holds no stream to us, where no sibling has one."""

    def __init__(self, channel: GrpcServerChannel) -> None:
        self._channel = channel

    def way_to(self, operator: Operator) -> Way | None:
        """See ``channels.Outbound``."""
        return self._channel.why_absent(operator)


class OneOfSeveralServers(GrpcServerChannel):
    """See :class:`eps.channels.grpc_server.GrpcServerChannel`, and the module's text.

    Attributes:
        passing: calls of siblings that are under way down streams.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.passing = Passing()

    def way_to(self, operator: Operator) -> Way | None:
        """Down its stream; a sibling may have one where we have none, and is asked before it is said why."""
        return self.way_down(operator)

    def answer(self, peer: PeerIdentity, message: pb.Request) -> Awaitable[pb.Response]:
        if not message.clientName or not is_of(peer, self._name, self._pins):
            return super().answer(peer, message)
        return self._answer_sibling(message)

    async def _answer_sibling(self, message: pb.Request) -> pb.Response:
        assert self._deliver is not None
        PASSED_ON.set(True)  # of this call's task
        sender = Operator(message.clientName)
        try:
            operator = codec.decode_address(message).operator
            if operator == self._name or sender != self._name:
                answer = await answer_request_of(self._name, self._deliver, sender, message)
                return as_own_words(answer, self._name, message)
            with self.passing.one():
                return await self._pass_down(operator, message)
        except EpsError as error:
            return own_words(error_response("", error, self._name))

    async def _pass_down(self, operator: Operator, message: pb.Request) -> pb.Response:
        stream = self._connected.get(operator)
        if stream is None:
            raise NoRoute(f"{operator} is not connected: it holds no stream to this server of {self._name}")
        asker = asker_of(message)
        answer = await stream.call(message, seconds_of(asker), asker)
        told = codec.decode_response(answer, "").error if answer.HasField("error") else None
        if told is None:
            return answer
        check_begun(told, stream)
        if stream.is_ours:
            return answer
        named = replace(told, data=anonymous(told.data))  # whoever gets it takes us for one who lets nobody else say so
        return codec.encode_response(Response("", error=named), answer.id)
