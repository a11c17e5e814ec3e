"""gRPC between operators (PROTOCOL.md section 3), on h2.

eps.proto, eps_pb2   the messages, as peers know them
codec                core.message ↔ those messages
framing              gRPC's prefixes, statuses, headers: bytes and values
guard                counts a peer's frames before h2 sees them
wire                 one HTTP/2 connection over pinned TLS: streams, windows, timers, ends
connection           the client's side: calls, reverse streams       used by channels.grpc_client and its pool
server               the server's side: accept, calls, ServerCall    used by channels.grpc_server
streams              how the two ends of a ServerCall know each other

connection · server → wire → guard · framing
"""
