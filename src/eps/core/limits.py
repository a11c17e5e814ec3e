"""Limits that more than one room keeps, each with its why. A limit that only one module keeps stands there."""

MAX_EXACT_INTEGER = 2**53
"""Numbers travel, and are hashed, as IEEE 754 doubles (PROTOCOL.md sections 3 and 4). Up to here, and down to its
negative, every integer has a double of its own; beyond, neighbours become one."""

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Of a gRPC message (PROTOCOL.md section 3). Requests and answers of JSON-RPC have the same, since they become such."""

MAX_NAME_CHARS = 253
"""A DNS name's longest text form (RFC 1035, section 3.1). Hosts, announced domains and operators' names, which stand in
certificates as DNS names, can't be longer; an IPv6 literal is far shorter."""

MAX_NESTING = 128
"""Objects and lists inside each other in a call's ``params``, which count as the first, and in a result. Applications
in use send 90 and more. Our JSON parser stops at 200 and the writer at 254, with the envelope around; others' parsers
are mostly at 512 or 1,000. Deeper ones are mistakes, or meant to hurt."""

WIRE_NESTING = MAX_NESTING + 1
"""The same in a Struct: a result that is no object travels inside one (PROTOCOL.md section 2)."""

MAX_SETTINGS_NESTING = 24
"""Objects and lists inside each other in a record's free-form value that servers send each other; deeper ones are left
out. An entry travels as ``params.client.entry`` and holds its records; gRPC's C core, which some peers are on, reads
32 objects or 48 lists from ``params`` on, and there must be room for what is around it."""

WRITE_BYTES = 256 * 1024
"""What is larger is handed to a connection in pieces of this size, each when the one before has left: encrypting 10 MB
at once would hold up everything for 50 ms."""
