"""gRPC between operators (PROTOCOL.md section 3), on h2.

eps.proto, eps_pb2   the messages, as peers know them
codec                core.message ↔ those messages; struct_encoder and struct_decoder do the JSON objects in them
framing              gRPC's prefixes, statuses, headers: bytes and values
http2                h2 with our limits; header_blocks packs those that come again once
guard                counts a peer's frames before h2 sees them
admission            memory for long messages, shared out in order
pulse                whether the peer is still there: when to ask, to doubt, to give up
pace                 how much of large messages may be on its way, so that small ones are not late
link                 one connection's life: pinned TLS, deadlines, pings, its end
service              the two names of the gRPC service
wire, wire_stream    HTTP/2: what speaks over a link, and its streams
streams              the two ends of a ServerCall
owner                what it tells whom it belongs to
dialled, accepted    whose wire it is: the client's opinions, and the server's with the calls that it runs
connection           the client's side: calls, reverse streams       used by channels.grpc_client and its pool
server               the server's side: accept and end               used by channels.grpc_server

connection → dialled · server → accepted; both have a wire, which has a link; streams are carried by a wire
"""
