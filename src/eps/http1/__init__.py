"""HTTP/1.1 on one connection, for programs that call others: who calls whom.

    client      kept connections to one server, and new ones
      exchange  one request and its answer on a connection; h11 says where messages begin and end
        plain_answers  most answers, read at a glance
        heads   which heads are read, and what is mended in an answer's
        chunk_lines  the same of the lines between a body's chunks
      channel   the connection's bytes, with flow control both ways

``jsonrpc.client`` and ``proxy.http_forwarding`` use it. The JSON-RPC server is aiohttp's.
"""
