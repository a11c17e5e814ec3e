"""Handshakes that failed, in an administrator's words, and in those of ``eps.reasons``."""

import ssl

from eps.reasons import Reason
from eps.transport.own_clock import OWN_CLOCK


def plain_reason(error: BaseException) -> str:
    """A failed handshake in an administrator's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = _VERIFY_REASONS.get(error.verify_code, f"its certificate was refused: {error.verify_message}")
        return OWN_CLOCK.named_first(text) if is_of_dates(error) else text
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or str(error)  # absent on those that Python code makes
        text = _ALERT_REASONS.get(reason, reason.replace("_", " ").lower())
        return OWN_CLOCK.named_first(text) if "CERTIFICATE_EXPIRED" in reason else text
    if isinstance(error, TimeoutError | ConnectionAbortedError):  # the latter is asyncio's word for it
        return "the TLS handshake took too long"
    if isinstance(error, ConnectionError | EOFError):
        return "the connection was closed during the TLS handshake"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "for a reason that is not known"


def is_of_dates(error: BaseException) -> bool:
    """Whether a handshake failed because of the date, by our clock."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _WRONG_DATES


def reason_of_handshake(error: OSError) -> Reason:
    """The word for a handshake that failed on our side, because of what the other one showed."""
    if is_of_dates(error):
        return Reason.OWN_CLOCK if OWN_CLOCK.off() else Reason.PEER_EXPIRED
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    return Reason.OWN_CA if code in UNKNOWN_AUTHORITY else Reason.TLS_FAILED


def reason_of_refusal(error: ssl.SSLError) -> Reason:
    """The word for the alert with which the other side refused our certificate."""
    alert = error.reason or ""
    if "CERTIFICATE_EXPIRED" in alert:
        return Reason.OWN_EXPIRED
    return Reason.PEER_CA if "UNKNOWN_CA" in alert else Reason.CERTIFICATE_REFUSED


_WRONG_DATES = (9, 10)

UNKNOWN_AUTHORITY = (18, 19, 20, 21)
"""Of the codes below, those that say: our list of authorities does not lead to this certificate."""

# OpenSSL's X509_V_ERR_ codes, as far as administrators meet them.
_VERIFY_REASONS = {
    9: "by our clock, its certificate is not valid yet (compare the clocks)",
    10: "by our clock, its certificate has expired (compare the clocks)",
    18: "its certificate is signed by itself and not in our ca_certificate_files",
    19: "its chain ends in a root that is not in our ca_certificate_files",
    20: "its certificate is not from one of our ca_certificate_files",
    21: "its certificate is not from one of our ca_certificate_files",
    62: "its certificate does not carry the name that we dialled",
    64: "its certificate does not carry the address that we dialled",
}
_ALERT_REASONS = {
    "TLSV1_ALERT_UNKNOWN_CA": "it doesn't know the authority of our certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it requires a client certificate and we have none",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refused our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it refused our certificate",
    "TLSV1_ALERT_INTERNAL_ERROR": "it failed during the TLS handshake",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate",
    "WRONG_VERSION_NUMBER": "it does not speak TLS on this port",
    "HTTP_REQUEST": "it sent plain HTTP to a TLS port",
    "UNEXPECTED_EOF_WHILE_READING": "it closed the connection during the TLS handshake",
}
