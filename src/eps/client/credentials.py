"""TLS contexts of an endpoint, made anew when one of its files has changed."""

import os
import ssl
import threading
import time
from pathlib import Path

from eps.client.endpoint import Endpoint
from eps.client.errors import SetupError
from eps.client.telling import LOG

LOOK_SECONDS = 1.0
"""How often files are looked at, at the most: renewals take effect within that time, and a look costs some µs."""

_Seen = tuple[tuple[int, int, int, int], ...]


class Credentials:
    """The TLS context for new connections. Thread-safe.

    A changed file that can't be used (half written, say) is logged once, and the context stays what it was.

    Raises:
        SetupError: a file is missing or can't be used, at the start.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        files = (endpoint.certificate_file, endpoint.key_file, *endpoint.ca_certificate_files)
        self._files = tuple(filter(None, files)) if endpoint.place.tls else ()
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        self._seen = _look_at(self._files)
        self._warned_of: _Seen = ()
        self._context = context_of(endpoint) if endpoint.place.tls else None

    def current(self) -> ssl.SSLContext | None:
        """The context by the files as they are, or were a second ago; None without TLS. Kept connections that were made
        with another one are not to be used any more."""
        if self._files and time.monotonic() - self._looked >= LOOK_SECONDS and self._lock.acquire(blocking=False):
            try:  # whoever doesn't get it, as a child that was forked meanwhile, takes what there is
                self._look()
            finally:
                self._lock.release()
        return self._context

    def _look(self) -> None:
        self._looked = time.monotonic()
        seen = _look_at(self._files)
        if seen == self._seen:
            return
        try:
            self._context = context_of(self._endpoint)
            self._seen = seen
        except SetupError as error:  # tried again, since a file may be written, or allowed to us, a moment later
            if seen != self._warned_of:
                LOG.warning("certificates have changed and can't be used, so the former ones stay in use: %s", error)
            self._warned_of = seen


def _look_at(files: tuple[str, ...]) -> _Seen:
    """What tells a file from another one in its place."""
    found = []
    for file in files:
        try:
            status = os.stat(file)
            found.append((status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size))
        except OSError:
            found.append((0, 0, 0, 0))
    return tuple(found)


def context_of(endpoint: Endpoint) -> ssl.SSLContext:
    """A context by what the files say now. Raises SetupError: one of them can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks the server's chain and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not endpoint.ca_certificate_files:
        context.load_default_certs()
    # As in the programs: an intermediate that is listed is trusted as such.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for file in endpoint.ca_certificate_files:
        _readable(file, "ca_certificate_files")
        try:
            context.load_verify_locations(file)
        except (ssl.SSLError, OSError):
            raise SetupError(f"{file}: it holds no certificate in PEM form; check ca_certificate_files") from None
    if endpoint.certificate_file:
        _readable(endpoint.certificate_file, "certificate_file")
        _readable(endpoint.key_file, "key_file")
        try:
            context.load_cert_chain(endpoint.certificate_file, endpoint.key_file, password="")  # never asked for
        except (ssl.SSLError, OSError) as error:
            what = "they don't fit each other" if "MISMATCH" in str(error) else "no certificate and key in PEM form"
            text = f"{endpoint.certificate_file}, {endpoint.key_file}: {what}; the key must have no passphrase"
            raise SetupError(text) from None
    return context


def _readable(file: str, setting: str) -> None:
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        text = f"{os.path.abspath(file)}: can't be read: {error.strerror}; check {setting}"
        raise SetupError(text) from None
