"""gRPC between operators (PROTOCOL.md section 3), on h2.

eps.proto, eps_pb2   the messages, as peers know them
structs, codec       JSON objects and core.message ↔ those messages
framing              gRPC's prefixes, statuses, headers: bytes and values
http2                h2 with our limits
guard                counts a peer's frames before h2 sees them
admission            memory for long messages, shared out in order
link                 one connection's life: pinned TLS, deadlines, pings, its end
wire, wire_stream    HTTP/2 over a link, and its streams
streams              the two ends of a ServerCall
connection           the client's side: calls, reverse streams       used by channels.grpc_client and its pool
server               the server's side: accept, calls, ServerCall    used by channels.grpc_server

connection · server → streams → wire → link · guard · admission · framing
"""
