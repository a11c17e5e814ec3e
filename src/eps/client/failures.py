"""What went wrong between an application and its own EPS server, as one of the errors: the words of both clients."""

import socket
import ssl

from eps.client.answers import MAX_ANSWER_BYTES
from eps.client.dialling import ProxyRefused
from eps.client.endpoint import Endpoint
from eps.client.errors import CallError, Executed, OutcomeUnknown, Unreachable
from eps.client.requests import Call

_ALERTS = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE", "ACCESS_DENIED")
"""In the alerts with which a server refuses what a client shows. TLS 1.3 has them come after the handshake."""

_VERIFY = {
    9: "its certificate is not valid yet, by this machine's clock",
    10: "its certificate has expired, by this machine's clock",
    18: "its certificate is signed by itself, and is not in ca_certificate_files",
    19: "its chain ends in a root that is not in ca_certificate_files",
    20: "its certificate is not from one of ca_certificate_files",
    21: "its certificate is not from one of ca_certificate_files",
    62: "its certificate does not carry that name",
    64: "its certificate does not carry that address",
}
"""OpenSSL's X509_V_ERR_ codes, as far as application developers meet them."""


def dial_failed(error: OSError, endpoint: Endpoint, call: Call) -> Unreachable:
    """No connection came about: nothing was sent."""
    if isinstance(error, ssl.SSLError):
        return refused_us(error, call) or _no_tls(error, endpoint, call)
    where = f"the EPS server at {endpoint.url}"
    if isinstance(error, TimeoutError):
        text, reason, hint = f"{where} does not answer", "silent", "check the address and firewalls"
    elif isinstance(error, socket.gaierror):
        text, reason, hint = f"{where}: its name can't be resolved", "address-wrong", "check the host's name"
    elif isinstance(error, ProxyRefused):
        text, reason = f"the HTTP proxy does not lead to {endpoint.url}: {error}", "http-proxy-refuses"
        hint = "it must allow CONNECT to that host and port; see proxy_url, HTTPS_PROXY, NO_PROXY"
    else:
        text = f"{where} is not reached: {error.strerror or error}"
        reason, hint = "unreachable", "check the URL, and that the EPS server runs"
    details = call.details(executed="no", reason=reason, stage="call", side="ours", hint=hint)
    return Unreachable(text, details)


def _no_tls(error: ssl.SSLError, endpoint: Endpoint, call: Call) -> Unreachable:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = _VERIFY.get(error.verify_code, error.verify_message)
    else:
        why = (error.reason or str(error)).replace("_", " ").lower()
    text = f"no TLS with the EPS server at {endpoint.url}, which must prove to be {endpoint.place.name}: {why}"
    hint = "check the URL, operator and ca_certificate_files"
    return Unreachable(text, call.details(executed="no", reason="tls-failed", stage="tls", side="ours", hint=hint))


def refused_us(error: ssl.SSLError, call: Call) -> Unreachable | None:
    """The server refused our certificate, or that there is none; None: that is not what it says."""
    alert = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError) or "ALERT" not in alert:
        return None
    if not any(word in alert for word in _ALERTS):
        return None
    text = "the EPS server refused the certificate that this application showed"
    if "CERTIFICATE_REQUIRED" in alert:
        text = "the EPS server wants a certificate, and this application showed none"
    hint = "check certificate_file and key_file: an authority that the server's settings name must have made it"
    details = call.details(executed="no", reason="certificate-refused", stage="tls", side="ours", hint=hint)
    return Unreachable(text, details)


def broke_off(call: Call, *, executed: Executed, answering: bool = False) -> CallError:
    """The connection ended before a whole answer had come."""
    if executed == "no":
        text = f"the EPS server ended the connection before it could read {call.method}"
        details = call.details(executed="no", reason="not-sent", stage="call", side="ours", hint="call again")
        return Unreachable(text, details)
    when = "while it answered" if answering else "and did not answer"
    text = f"the EPS server ended the connection on which {call.method} was sent, {when}"
    hint = "it may have been executed: find out before you repeat it"
    return OutcomeUnknown(text, call.details(reason="broke-off", stage="call", side="ours", hint=hint))


def too_late(call: Call, *, sent: bool) -> CallError:
    """The deadline passed."""
    if not sent:
        text = f"{call.method} could not be sent before its deadline"
        return Unreachable(text, call.details(executed="no", reason="silent", stage="call", side="ours"))
    text = f"no answer to {call.method} came before its deadline"
    hint = "it may have been executed, or be running still: find out before you repeat it"
    return OutcomeUnknown(text, call.details(reason="no-answer", stage="call", side="ours", hint=hint))


def left_alone(call: Call, *, sent: bool) -> CallError:
    """Whoever called waits no more: told to the hook alone."""
    text = f"nobody waits for the answer to {call.method} any more"
    if not sent:
        return Unreachable(text, call.details(executed="no", reason="not-sent", stage="call", side="ours"))
    return OutcomeUnknown(text, call.details(reason="no-answer", stage="call", side="ours"))


def too_large(call: Call) -> OutcomeUnknown:
    """An answer that is not kept."""
    text = f"the answer to {call.method} has more than {MAX_ANSWER_BYTES >> 20} MiB, and was not read"
    return OutcomeUnknown(text, call.details(reason="bad-answer", stage="call", side="ours", hint="ask for less"))
