"""What tests share; ``bench/`` and ``fuzz/`` use it, too. Tests import from here, never from each other.

testing            events that are kept, certificates, sockets in pairs            vectors   recorded cases
sockets, ports     raw sockets, free ports; pieces (an HTTP connection in memory)  strategies for hypothesis
certs              certificates of any shape                                       record_tools   signed records
command_lines      of the three programs
network            a network of our servers in this process; passthrough_network, passage (connections through both)
directory_network  commands of eps in one folder, with a service directory in this process
machine            the development network as real processes; ours, measure (what long runs watch)
application, load  behind hd-2 and in front of hd-1, with books; honest, and beside it attacker, flood
broken_networks    real processes, broken in turn, and what is told; broken_networks_late: those that take long;
                   broken_networks_page: the page of both
howto, screens     pages as somebody reads them who types every command; what commands show of fixed facts
foreign/           peers on grpcio's C core that play the habits of servers in use
fakes, grpc_rig    stand-ins for the neighbours of one part; connect_proxy, internal_server, hellos
promptness         whether an event loop was held up
promises, attacks/ what docs/ prints of faults and of attacks
"""
