"""What a network's state is, and why: commands that look, and change nothing.

explain    who may call what, and which way it would go; methods: what we may call
ping       whether an operator is reached, which way, and how fast
commands   from settings to what is printed
typed_client  Python code that calls what an operator describes, printed by generating
doctor     facts about everything → what is wrong, whose it is, what to do: local (files), clock, own_server,
           service_directory, others and way (whom we dial), by probes, lately (what our server saw fail);
           a finding each, in a report
status     what the running server is at, in words
sd_doctor, proxy_doctor  the same for the other programs
trace      what servers saw of a call; from the running one, or from files that operators give each other
known      the directory as our server has verified it
paper      lines of a given width, with or without colour
"""
