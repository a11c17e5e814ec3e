"""Foreign peers: what an EPS network looks like from servers that are not ours.

They share no code with ``eps`` (only ``network.py`` takes certificates from ``eps.pki``): gRPC runs on grpcio's C core,
HTTP on ``http.server``, relays on plain blocking sockets. Each habit of PROTOCOL.md section 9 is an attribute with a
name, so a test can see that it was met, or switch it.

    messages           Request/Response ↔ protobuf, in a descriptor pool of its own
    directory          entries, rights, pins; upset by what upsets peers in use
    records            structured hash, signing and verifying change records
    eps                ForeignEps: the delivery rules; owns the four below
      grpc_server      Call, and ServerCall's serving side
      grpc_client      one connection per call, direct or through a tunnel
      streams          ServerCall's dialling side
      tunnel           dial a relay, write the token, pump
    rpc                ForeignRpcServer, ForeignRpcClient: JSON-RPC over HTTP(S)
    proxy              ForeignProxy: requestConnection and the relay
    service_directory  ForeignSd
    network            certificates, a directory and a whole foreign network for a test

Everything listens on 127.0.0.1, port 0. ``close()`` ends every socket and joins every thread, also with calls in
flight.
"""

import os

# The C core writes handshake failures, which tests provoke on purpose, to stderr. Must be set before grpc is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
