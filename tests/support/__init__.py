"""What tests share; ``bench/`` and ``fuzz/`` use it, too.

testing            events that are kept, certificates, sockets in pairs            vectors   recorded cases
sockets, ports     raw sockets, free ports                                         strategies for hypothesis
network            a network of our servers in this process; passthrough_network, passage (connections through both)
machine            the development network as real processes; ours, measure (what long runs watch)
foreign/           peers on grpcio's C core that play the habits of servers in use
fakes, grpc_rig    stand-ins for the neighbours of one part; connect_proxy, internal_server, hellos, record_tools, certs
promptness         whether an event loop was held up
"""
