"""The protocol's messages for the C core, from descriptors of our own (PROTOCOL.md section 3).

The pool is private, so that these can live in one process with the generated code of the programs under test.
"""

from dataclasses import dataclass, field
from typing import Any

from google.protobuf import descriptor_pb2, json_format, struct_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

Object = dict[str, Any]

SERVICE = "EPS"
HYPER = "Hyper"
"""What the fork calls the service (section 9)."""

CALL = "/EPS/Call"
SERVER_CALL = "/EPS/ServerCall"

_STRUCT = ".google.protobuf.Struct"
_Field = descriptor_pb2.FieldDescriptorProto
_FIELDS: dict[str, list[tuple[str, int, str]]] = {
    "Request": [("method", 1, "string"), ("params", 2, _STRUCT), ("id", 3, "string"), ("clientName", 4, "string")],
    "Error": [("code", 1, "int32"), ("message", 2, "string"), ("data", 3, _STRUCT)],
    "Response": [("id", 1, "string"), ("result", 2, _STRUCT), ("error", 3, ".Error")],
}


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    params: Object
    id: str
    client_name: str = ""


@dataclass(frozen=True, slots=True)
class Error:
    code: int
    message: str
    data: Object = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """``result`` and ``error`` are None where the message lacks the field."""

    id: str
    result: Object | None = None
    error: Error | None = None


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="foreign.proto", syntax="proto3")
    file.dependency.append("google/protobuf/struct.proto")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            added = message.field.add(name=field_name, number=number, label=_Field.LABEL_OPTIONAL)
            if kind in ("string", "int32"):
                added.type = _Field.TYPE_STRING if kind == "string" else _Field.TYPE_INT32
            else:
                added.type, added.type_name = _Field.TYPE_MESSAGE, kind
    pool = DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return {name: GetMessageClass(pool.FindMessageTypeByName(name)) for name in _FIELDS}


_CLASSES = _build()


def encode_request(request: Request) -> bytes:
    message = _CLASSES["Request"](method=request.method, id=request.id, clientName=request.client_name)
    json_format.ParseDict(request.params, message.params)
    return _bytes(message)


def decode_request(data: bytes) -> Request:
    message = _CLASSES["Request"].FromString(data)
    return Request(message.method, _object(message, "params") or {}, message.id, message.clientName)


def encode_response(response: Response) -> bytes:
    message = _CLASSES["Response"](id=response.id)
    if response.result is not None:
        message.result.SetInParent()
        json_format.ParseDict(response.result, message.result)
    if response.error is not None:
        message.error.code, message.error.message = response.error.code, response.error.message
        json_format.ParseDict(response.error.data, message.error.data)
    return _bytes(message)


def decode_response(data: bytes) -> Response:
    message = _CLASSES["Response"].FromString(data)
    error = None
    if message.HasField("error"):
        error = Error(message.error.code, message.error.message, _object(message.error, "data") or {})
    return Response(message.id, _object(message, "result"), error)


def _object(message: Any, name: str) -> Object | None:
    if not message.HasField(name):
        return None
    value: Object = _integral(json_format.MessageToDict(getattr(message, name)))
    return value


def _integral(value: Any) -> Any:
    """Whole numbers as int, as JSON shows them."""
    if isinstance(value, dict):
        return {key: _integral(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_integral(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _bytes(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data
