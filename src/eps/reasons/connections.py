"""The way to the other side: connections, proxies, certificates."""

from eps.reasons.words import Explanation, Reason, Whose

CONNECTIONS: dict[Reason, Explanation] = {
    Reason.PEER_OFF: Explanation(
        "it holds no stream to its proxy",
        "The callee is reached through a proxy, to which it holds a connection open, and at present there is "
        "none: its server is off, or its network.",
        Whose.PEER,
        "start the callee's server; it connects by itself within a minute. Its log says why it doesn't",
        is_open=True,
    ),
    Reason.SECOND_SERVER: Explanation(
        "two servers of one operator replace each other",
        "Two EPS servers run in the name of one operator, perhaps an old machine and a new one. Each takes the "
        "other's place at the proxy, and calls get lost between them.",
        Whose.PEER,
        "stop one of the two",
        is_open=True,
    ),
    Reason.NO_WAY: Explanation(
        "no channel leads there",
        "As settings and directory are, this server can't reach the callee, or its own application, and trying "
        "again changes nothing.",
        Whose.OURS,
        "add the channel that the message names to the settings, or the right to the directory",
    ),
    Reason.UNREACHABLE: Explanation(
        "a connection is refused",
        "At the address of the other side nothing takes connections: the server is off, or the address is wrong.",
        Whose.PEER,
        "start the server there, or correct its address",
    ),
    Reason.SILENT: Explanation(
        "nothing answers at an address",
        "Packets to that address are swallowed: by a firewall mostly, perhaps by a machine that is off.",
        Whose.OURS,
        "look at the firewalls on the way, ours first",
    ),
    Reason.ADDRESS_WRONG: Explanation(
        "an address can't be dialled: it is no HOST:PORT, or its name has no address",
        "An address in the directory, one that a proxy gave for its relay, or an endpoint in the settings, leads "
        "nowhere; or this machine's DNS is away.",
        Whose.PEER,
        "whose address it is, corrects it in its directory entry, its proxy's internal_endpoint or the settings; look "
        "whether DNS answers (getent hosts NAME)",
    ),
    Reason.HTTP_PROXY_DOWN: Explanation(
        "its HTTP proxy is not reached",
        "The settings send outgoing connections through an HTTP proxy (proxy_url), and that takes none.",
        Whose.OURS,
        "start the HTTP proxy, or correct proxy_url",
    ),
    Reason.HTTP_PROXY_REFUSES: Explanation(
        "its HTTP proxy refuses the connection",
        "The HTTP proxy of the settings (proxy_url) answered CONNECT with a refusal.",
        Whose.OURS,
        "have the HTTP proxy allow the address, or correct user and password in proxy_url",
    ),
    Reason.PROXY_UNREACHABLE: Explanation(
        "the EPS server of the proxy is not reached",
        "The callee is behind a proxy, and that proxy's EPS server takes no connections. It could not be asked "
        "for a tunnel.",
        Whose.PROXY,
        "the proxy's administrators: start its EPS server; the address is in its directory entry",
    ),
    Reason.PROXY_PROGRAM_DOWN: Explanation(
        "the proxy's EPS server does not reach its proxy program",
        "The proxy consists of two programs, and the one that makes tunnels does not run, or not where the other "
        "looks for it.",
        Whose.PROXY,
        "the proxy's administrators: start proxy run public; its endpoint is in their EPS server's settings",
    ),
    Reason.PROXY_SILENT: Explanation(
        "the proxy does not answer",
        "The proxy was asked for a tunnel and said nothing in time.",
        Whose.PROXY,
        "the proxy's administrators: look whether its EPS server or its proxy program hangs",
    ),
    Reason.PROXY_FULL: Explanation(
        "the proxy has as many connections as it can hold",
        "The proxy makes no more tunnels at present.",
        Whose.PROXY,
        "try again later; its administrators may look who holds so many",
        is_open=True,
    ),
    Reason.RELAY_UNREACHABLE: Explanation(
        "the relay refuses connections",
        "The proxy made a token, but at the endpoint that it names nothing listens.",
        Whose.PROXY,
        "the proxy's administrators: compare internal_endpoint and internal_bind_address in its settings",
    ),
    Reason.RELAY_SILENT: Explanation(
        "the relay does not answer in time",
        "Packets from the one who says so to the relay are swallowed on the way; others reach the relay.",
        Whose.OURS,
        "look at the firewall of whoever says so, towards the relay",
    ),
    Reason.RELAY_NOT_LISTED: Explanation(
        "the relay's endpoint is not among the proxy's internal_endpoints",
        "A proxy may send others only to addresses that its directory settings list, or that are plainly its own."
        " This one is neither, so it was not dialled.",
        Whose.PROXY,
        "the proxy's operator: list it under internal_endpoints in the directory settings of service proxy, or "
        "correct internal_endpoint",
    ),
    Reason.TOKEN_LATE: Explanation(
        "the callee came too late to the relay",
        "A token lives for accept_timeout. The callee showed its own when that was over.",
        Whose.PEER,
        "the callee's server is slow, or its network is",
        is_open=True,
    ),
    Reason.PEER_HANGS: Explanation(
        "the callee does not answer the proxy",
        "The proxy holds the callee's stream, but the callee said nothing to the question for a tunnel: its "
        "server hangs, or its network lets nothing through.",
        Whose.PEER,
        "the callee's administrators: look whether the server hangs; restart it",
        is_open=True,
    ),
    Reason.NO_TUNNEL: Explanation(
        "no tunnel was made",
        "The proxy brought no tunnel, and the reason is not one of the others.",
        Whose.PROXY,
        "look into the logs of the proxy and of the callee",
    ),
    Reason.OWN_PIN: Explanation(
        "the directory does not pin its certificate",
        "We show a certificate that our own directory entry does not pin, so others refuse us. The server knows "
        "it: it says so at the start, in each failure and in its log.",
        Whose.OURS,
        "submit the certificate's fingerprint in the section certificates of our entry, or have the settings name"
        " the pinned file",
    ),
    Reason.PEER_PIN: Explanation(
        "the directory does not pin the certificate that was shown",
        "The other side shows a certificate that its directory entry does not pin, so it is refused: it may be an"
        " impostor, mostly it is a new certificate that was never submitted.",
        Whose.PEER,
        "the administrators of the other side: submit the fingerprint, or have the settings name the pinned file",
        is_open=True,
    ),
    Reason.OWN_CA: Explanation(
        "its authorities don't lead to the other side's certificate",
        "The other side's certificate comes from an authority that our ca_certificate_files don't have.",
        Whose.OURS,
        "name the network's authorities in ca_certificate_files",
    ),
    Reason.PEER_CA: Explanation(
        "its authorities don't lead to a certificate that it was shown",
        "The other side does not know the authority of a certificate that it was shown, because of its own settings.",
        Whose.PEER,
        "the administrators of the other side: name the network's authorities in ca_certificate_files",
    ),
    Reason.OWN_EXPIRED: Explanation(
        "its certificate has expired",
        "Our own certificate is not valid any more.",
        Whose.OURS,
        "renew the certificate, submit its fingerprint, and restart",
    ),
    Reason.PEER_EXPIRED: Explanation(
        "a certificate has expired",
        "The certificate of the other side is not valid any more, or not yet.",
        Whose.PEER,
        "the administrators of the other side: renew the certificate and submit its fingerprint",
    ),
    Reason.OWN_CLOCK: Explanation(
        "its clock is wrong",
        "Our clock differs by more than 2 minutes from what the service directory, or the other side, calls the "
        "date. Certificates are then wrongly called expired, or not valid yet.",
        Whose.OURS,
        "set the clock (chrony, systemd-timesyncd), and call again",
    ),
    Reason.PEER_CLOCK: Explanation(
        "a clock is wrong",
        "The clock of the other side differs from others'. Certificates are then wrongly called expired.",
        Whose.PEER,
        "the administrators of the other side: set the clock",
    ),
    Reason.CERTIFICATE_REFUSED: Explanation(
        "its certificate was refused",
        "The other side refused our certificate, or hung up when it had seen it. Our own directory pins it, so "
        "what is wrong is with them: an older directory, or other authorities.",
        Whose.PEER,
        "the other side's log says why it refused; compare authorities, and the age of its directory",
    ),
    Reason.TLS_FAILED: Explanation(
        "no TLS connection came about",
        "The handshake failed: another name, a certificate that can't be read, something that doesn't speak TLS.",
        Whose.PEER,
        "check the address, and what listens there",
    ),
}
