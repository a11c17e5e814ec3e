"""From settings to running servers: the one place that knows all parts. Each program is one class; its constructor puts
the parts together in the order in which they start, and opens nothing.

eps         EpsServer           directory source → metrics → channels, with a broker between them
sd          SdServer            datastore, service → metrics → JSON-RPC server
proxy       PublicProxyServer   metrics → relay → datastore, announcements, TLS listener → JSON-RPC server
            PrivateProxyServer  metrics → forwarder → datastore, announcements, private proxy → JSON-RPC server
composite   parts that start in order and close in the reverse
credentials the certificates that settings name, as plain values
certificates  what is to be said of them, at a start and by ``config check``
told        what an EPS server tells of its directory and streams, to commands and health checks
audit       the audit log of settings: its secret and its key
siblings    one EPS server among several of its operator
renewal     tells when all connections are those of the present certificates
parts       what several programs have: clients, datastores, metrics, from their settings
"""
