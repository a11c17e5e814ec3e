"""JSON-RPC over HTTP(S), both ways (PROTOCOL.md section 5), around the pure ``core.jsonrpc_text``.

``server`` is used by the channel to our applications, the service directory and the proxies; each gives it one
handler, ``Call → Response``. ``client`` is used by the channel to our application, by the directory source that follows
a service directory, and by the command line. Neither knows what a call means.
``spread`` has one client for several endpoints that do the same.
``answers`` is what a client makes of an HTTP answer, ``callee`` whom it calls; ``callers`` decides who may call a
server, ``cors`` which web pages may. ``tolerance`` tells what applications do loosely. ``server_connection`` is one
connection of the server, with its answers; ``http_connection`` is what every HTTP server here has of aiohttp for each
client; ``aiohttp_parts`` is what of that is private, and ``aiohttp_without_client`` keeps the rest from being loaded.
``requests`` is what a server takes as a call: ``request_body`` reads a body as it arrives; ``large_bodies`` are those
that wait for their turn; ``in_hand`` bounds what a server is at. ``hour`` asks what time it is at a server.
"""

from eps.jsonrpc.aiohttp_without_client import postpone

postpone("aiohttp")
