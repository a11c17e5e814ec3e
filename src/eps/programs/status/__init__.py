"""How a running program is, for people: one value (``running.standing``), and what shows it.

pictures  what each program shows of itself: peers, tunnels, announcements, operators, changes
server    the page: HTTP, live by server-sent events; its files are in assets/
"""
