"""A proxy that is about to stop asks both sides of its tunnels for new ones (PROTOCOL.md section 10).

P → A, B  _renewConnections  {}  → {connections: how many}
"""

RENEW_CONNECTIONS = "_renewConnections"
"""The internal method; only who has brokered tunnels that stand may call it."""

REPLACE_SECONDS = 1.0
"""How long the side that has opened a tunnel goes on with it while it tries to make the next one: a proxy that takes
the other's place is there by then, and where none does, the old one should be free to stop soon."""

YIELD_SECONDS = 1.5
"""When the side that was called says goodbye on such a tunnel: by then whoever opened it has left it, if its server is
ours."""

ASKED_EVERY = 1.0
"""Seconds between two renewals that one proxy may cause: it needs one, and each costs a brokering."""
