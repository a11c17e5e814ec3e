"""What settings are when nobody says otherwise, and what a piece is that is made without them. Times in seconds."""

CALL_SECONDS = 30.0
"""One call, in all. Peers in use set no deadline of their own, so somebody must."""

MAX_CALL_SECONDS = 3600.0
"""That a caller may give one call: what takes longer than an hour is a job, to be asked about again, and each call that
waits takes memory on every server on its way."""

TUNNEL_IDLE_SECONDS = 300.0
"""Without a call, after which a connection is closed. Longer than the pauses of a busy application; short enough that a
proxy isn't left holding thousands of forgotten tunnels."""

RELAY_IDLE_SECONDS = 3600.0
"""Without a byte, after which a proxy ends what it relays: both ends have shorter limits of their own, so what is that
silent was forgotten. Where somebody lives and reads nothing, see ``transport.readers``."""

ACCEPT_SECONDS = 10.0
"""That a token lives, and a party has to show one (PROTOCOL.md section 6)."""

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 15, 5, 4
"""Seconds, seconds, questions: a silent peer that vanished is noticed after 35 s, by the kernel alone, and three lost
packets end nothing. NAT boxes forget after five minutes or more. Two thousand idle tunnels cost a few hundred packets a
second. Bytes that nobody confirms are given up after the same time (``transport.sockets``): above the 15 s that slow
peers get, whose kernels confirm at once; and below the minutes that a kernel tries by itself."""

DIRECTORY_SECONDS = 5.0
"""Between two questions to a service directory (``cache_entries_for``)."""

MAX_ANSWER_BYTES = 128 * 1024 * 1024
"""Of a service directory's answer; some 60,000 records."""

MAX_SUBMISSION_BYTES = 64 * 1024 * 1024
"""Of one submission to it."""

MAX_CALLS = 1_000
"""That run in a JSON-RPC server at once, as many as a peer takes. One server answers so many within a second or two;
those beyond would wait for longer, and each takes some 30 KiB of memory."""

DRAIN_SECONDS = 10.0
"""What runs when a server is told to stop has so long to end: most calls take far less, and whoever waits for a restart
should not wait longer."""

PATIENCE_SECONDS = 3.0
"""How long a call that was certainly not sent is held and tried again: a restarted program is back in one or two; a
caller who waits for a peer that stays away should know it soon."""
