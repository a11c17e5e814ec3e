"""Messages of the network, read as a whole."""

from eps.core.message import Request
from eps.grpc import eps_pb2 as pb
from eps.grpc.codec import decode_address, decode_params


def decode_request(message: pb.Request) -> Request:
    """Address and params, as a server reads them one after the other when the caller has the right."""
    return Request(decode_address(message), decode_params(message.params))
