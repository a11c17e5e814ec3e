"""The development network, on one machine.

demo       ``eps demo`` → network (names, ports) → processes (starts them, reads their logs) → child (in each of them)
           rendering: what it shows, as text
           stores, redis_server: on other stores than SQLite
           scaled: with several of everything
           ports: which are free
certs      ``eps dev certs``          internal_server    ``eps dev internal-server``
mock       ``eps mock``: somebody's service in a network of this process (``eps.testing``)
operators  ``eps dev add-operator``, ``eps dev sign``
tree       the settings that all of them work on, given to an empty folder
"""
