"""Limits that more than one room keeps, each with its why. A limit that only one module keeps stands there."""

MAX_EXACT_INTEGER = 2**53
"""Numbers travel, and are hashed, as IEEE 754 doubles (PROTOCOL.md sections 3 and 4). Up to here, and down to its
negative, every integer has a double of its own; beyond, neighbours become one."""

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Of a gRPC message (PROTOCOL.md section 3). Requests and answers of JSON-RPC have the same, since they become such."""

MAX_NAME_CHARS = 253
"""A DNS name's longest text form (RFC 1035, section 3.1). Hosts, announced domains and operators' names, which stand in
certificates as DNS names, can't be longer; an IPv6 literal is far shorter."""

OBJECT_LEVELS, LIST_LEVELS, MAX_LEVELS = 3, 2, 99
"""Protobuf parsers in use stop at 100 messages inside each other. An object in a Struct is three of them (Struct, map
entry, Value), a list two, and the message that holds the Struct of an error's data one: 32 objects, or 48 lists in one
object, are what gets through."""

MAX_OBJECTS = 32
"""Objects inside each other in a message, ``params`` or ``result`` counting as the first. See :data:`MAX_LEVELS`."""

MAX_SETTINGS_NESTING = 24
"""Objects and lists inside each other in a record's free-form value that servers send each other; deeper ones are left
out. An entry travels as ``params._client.entry``, where :data:`MAX_OBJECTS` counts from ``params`` on, and there must
be room for what is around it."""
