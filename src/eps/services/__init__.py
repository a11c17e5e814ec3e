"""What the servers do, each one story told from top to bottom. Sockets, stores and time are given to them.

broker              an EPS server: who asks, may they, where to? Called by inbound channels, calls outbound ones
internal_methods    what an EPS server answers itself: _ping, _directory, _connectionRequest (B's part, steps 3 and 4)
service_directory   keeps the chain of signed records; behind the sd program's JSON-RPC server
public_proxy        brings two operators together (P's part, steps 3 to 6); behind the proxy program's JSON-RPC server

TLS passthrough: a TLS client → passthrough (public) → private_proxy → forwarding (private) → an internal server
passthrough         reads who is asked for, and calls that operator in; the tunnels are public_proxy's
private_proxy       announces domains, and dials the public proxy when it is called in
announcement_book   the announcements of either proxy: memory and store
forwarding          where the connections go: raw, http_forwarding (with http_messages) or jsonrpc_forwarding
"""
