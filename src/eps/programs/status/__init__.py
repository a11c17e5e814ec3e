"""How a running program is, for people: one value (``running.standing``), and what shows it.

pictures  what each program shows of itself: peers, tunnels, announcements, operators, changes
merging   one value of several
asking    a running server's value, over its control socket
server    the page: HTTP, live by server-sent events; its files are in assets/
"""
