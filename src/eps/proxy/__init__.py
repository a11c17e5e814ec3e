"""The public and the private proxy, each one story told from top to bottom. Sockets, stores and time are given to them.

callers             asks the EPS server whose certificates call the proxy
public              brings two operators together (P's part, steps 3 to 6); behind the proxy program's JSON-RPC server
relay_limits        how long what may take there, and how much there may be
latecomers          which callee came too late to the relay
lame_duck           how either proxy stops: it begins nothing new, and what it has may end by itself

TLS passthrough: a TLS client → passthrough (public) → private → forwarding (private) → an internal server
passthrough         reads who is asked for, and calls that operator in; the tunnels are public's
private             announces domains, and dials the public proxy when it is called in
announcements       the announcements of either proxy: memory and store
forwarding          where the connections go: raw, http_forwarding (with http_passing, http_messages) or
                    jsonrpc_forwarding
"""
