"""What the servers do, each one story told from top to bottom. Sockets, stores and time are given to them.

broker              an EPS server: who asks, may they, where to? Called by inbound channels, calls outbound ones
internal_methods    what an EPS server answers itself: _ping, _directory, _connectionRequest (B's part, steps 3 and 4)
service_directory   keeps the chain of signed records; behind the sd program's JSON-RPC server
public_proxy        brings two operators together (P's part, steps 3 to 6); behind the proxy program's JSON-RPC server
"""
