"""Would peers take our certificate? Found out by shaking hands with such a peer, in memory.

Whether a chain leads to an authority is for OpenSSL to say, which knows cross-signed roots, trusted intermediates, path
lengths and purposes. So nobody imitates it: our side loads the files as at a start, the other has the same authorities.
"""

import ssl
from dataclasses import replace
from datetime import datetime
from itertools import chain, repeat

from eps.transport.handshakes import plain_reason
from eps.transport.tls import TlsFiles, client_context, server_context

STEPS = 12
"""Turns of both sides, after which a handshake in memory is over: TLS 1.2 with two certificates takes six."""

NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for."""

_LEADS_NOWHERE = {2, 18, 19, 20, 21}
"""OpenSSL's X509_V_ERR_ codes for chains that end elsewhere than in a trusted certificate."""


def refusal(files: TlsFiles, now: datetime, *, server: bool) -> str:
    """Why a peer with the same authorities refuses our certificate; empty if it doesn't.

    Dates count only in that a path which is valid today is found before others: what has expired is told elsewhere.

    Args:
        files: with a certificate and authorities that load.
        now: as for ``server_context``.
        server: we show it as a server; else as a client.

    Raises:
        StartError: they don't load.
    """
    if not _refused(files, server, now, ssl.VerifyFlags.VERIFY_DEFAULT):
        return ""
    return _refused(files, server, now, NO_CHECK_TIME)


def _refused(files: TlsFiles, server: bool, now: datetime, flags: ssl.VerifyFlags) -> str:
    if server:
        ours = server_context(replace(files, verify_client=False, request_client_cert=False), now=now)
        peer = client_context(TlsFiles(files.ca_certificate_files), now=now)
        peer.check_hostname = False
    else:
        ours = client_context(replace(files, insecure_skip_verify=True), now=now)
        peer = server_context(replace(files, verify_client=True), now=now)
    peer.verify_flags |= flags
    try:
        _shake_hands(*(ours, peer) if server else (peer, ours))
    except ssl.SSLError as error:
        if getattr(error, "verify_code", None) in _LEADS_NOWHERE:
            return "does not lead to any of the CAs named beside it"
        reason = getattr(error, "verify_message", None) or plain_reason(error)
        return f"would be refused by peers with the CAs named beside it: {reason}"
    return ""


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """A whole handshake in memory; raises what the side that refuses does."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for side in chain.from_iterable(repeat(sides, STEPS // 2)):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
