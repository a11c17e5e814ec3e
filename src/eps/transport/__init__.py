"""Sockets: who may connect, who is at the other end, and bytes from one to the other. Nothing here knows a message.

listener   accepts, for every server; hands each socket to its protocol
inherited  sockets that listen already when a program starts
tls        contexts, and who a certificate is, given the directory's pins as a function
handshakes  what went wrong in one, in words; own_clock: a wrong clock is named before dates are
sessions   what a TLS session of ours does more than Python's
credentials  loads the files that settings name into contexts; rehearsal tries them on a peer in memory
aside      long computations, in a thread of their own; large_values: what comes of them, until it is forgotten
dial       connects, for every client; race: to the first of several addresses
port_owner  which program has a port
sockets    what every socket gets, and what the kernel tells of one
readers    those that live and don't read are not taken for dead
arrivals   deadlines and a limit for connections that have not shown yet what they want
incoming   from an accepted socket, through TLS, to its protocol
memory     what was freed goes back to the system
tunnel     dials a relay and writes the token
splice     joins two sockets until both sides have ended (the relay's data path), on pipes; narrow: how much it
           takes at once
tasks      background tasks that somebody owns and ends
"""
