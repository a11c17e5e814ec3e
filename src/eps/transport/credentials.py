"""The files that TLS settings name, loaded for OpenSSL: our certificate and key, and the authorities of peers.

OpenSSL loads the files themselves, so whether a program can start is its decision; ``core`` explains it in plain words
and says what is doubtful though it loads. What comes of both is a list of doubts: contexts are refused for the first
fatal one (``tls.server_context``), the others are warnings at the start, and ``config check`` shows all (``examine``).
"""

import os
import ssl
import stat
from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509

from eps.core.certificate import AUTHORITIES, KEY_HINT, OWN, Doubt, about_authorities, about_own, fits, weakness
from eps.core.pem import certificates_in, damaged_list, key_in, read_blocks
from eps.errors import StartError
from eps.reasons import Reason

_OTHERS = stat.S_IRWXO | stat.S_IWGRP
"""What nobody needs to be allowed with a private key."""

MAX_FILE_BYTES = 16 * 1024 * 1024
"""A bundle of all public authorities has a quarter of a megabyte; a wrong path may be a device that never ends."""


def read_file(file: str, setting: str) -> bytes:
    """A file that settings name.

    Raises:
        StartError: it can't be read; the message names it and the reason.
    """
    try:
        with open(file, "rb") as stream:
            return stream.read(MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise StartError(
            f"{os.path.abspath(file)}: no such file",
            hint=f"check {setting} (in a development network, make certs makes the certificates)",
        ) from error
    except OSError as error:
        raise StartError(
            f"{os.path.abspath(file)}: can't be read: {error.strerror}",
            hint=f"check {setting} and that the user who runs this program may read the file",
        ) from error


def load_own(context: ssl.SSLContext, certificate_file: str, key_file: str, now: datetime) -> Iterator[Doubt]:
    """Load our certificate, with its chain, and its key; nothing may be asked for behind a fatal doubt."""
    if not key_file:
        yield Doubt(
            "key_file",
            certificate_file,
            f"{certificate_file}: no key file is named for it",
            "set tls.key_file",
            fatal=True,
        )
    try:
        content = read_file(certificate_file, "tls.certificate_file")
        chain = certificates_in(content, certificate_file, "tls.certificate_file")
    except StartError as error:
        yield _fatal(OWN, certificate_file, error)
        return
    yield from about_own(chain, certificate_file, now)
    yield from _passed_over(content, certificate_file, OWN)
    try:
        key = key_in(read_file(key_file, "tls.key_file"), key_file, "tls.key_file")
    except StartError as error:
        yield _fatal("key_file", key_file, error)
        return
    yield from about_key_file(key_file)
    if not fits(key, chain[0]):
        text = f"{key_file}: the key does not fit the certificate in {certificate_file}"
        hint = "name a certificate and its own key; the file's first certificate must be the leaf"
        yield Doubt("key_file", key_file, text, hint, fatal=True, reason=Reason.KEY_MISFIT)
    try:
        context.load_cert_chain(certificate_file, key_file, password="")  # never asked for on a terminal
    except (ssl.SSLError, OSError) as error:
        text = f"{certificate_file}: {weakness(chain) or _refusal(error)}"
        yield Doubt(OWN, certificate_file, text, f"{KEY_HINT}, signed with SHA-256 or more", fatal=True)


def about_key_file(file: str) -> Iterator[Doubt]:
    """A warning if others on this machine can read, or change, a private key. A group's right to read it is none: so
    programs of several users share one."""
    try:
        rights = stat.S_IMODE(os.stat(file).st_mode)
    except OSError:
        return  # whoever reads it says so
    if rights & _OTHERS:
        who = "every user of this machine" if rights & stat.S_IRWXO else "a group"
        text = f"{file}: {who} may {'read' if rights & stat.S_IROTH else 'use or change'} this private key"
        text += f" (mode {rights:04o})"
        yield Doubt(
            "key_file", file, text, "chmod 600 it, or 640 if its group is to read it", reason=Reason.KEY_READABLE
        )


def load_authorities(context: ssl.SSLContext, files: Sequence[str], now: datetime) -> Iterator[Doubt]:
    """Load those that peers' chains must end in; nothing may be asked for behind a fatal doubt."""
    # An intermediate that the administrator lists is trusted as such, whether or not its root is listed too.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    setting = AUTHORITIES
    if not files:
        hint = f"set tls.{setting}"
        yield Doubt(setting, "", "no certificate authority is named to check peers with", hint, fatal=True)
    authorities: dict[str, tuple[x509.Certificate, ...]] = {}
    for file in files:
        try:
            content = read_file(file, f"tls.{setting}")
            authorities[file] = certificates_in(content, file, f"tls.{setting}")
            context.load_verify_locations(file)
        except StartError as error:
            yield _fatal(setting, file, error)
        except (ssl.SSLError, OSError) as error:
            reason = damaged_list(content) or _refusal(error)
            yield Doubt(setting, file, f"{file}: {reason}", f"check tls.{setting}", fatal=True)
        else:
            yield from _passed_over(content, file, setting)
    yield from about_authorities(authorities, now)


def _passed_over(content: bytes, file: str, setting: str) -> Iterator[Doubt]:
    """What the administrator may take for a part of the file, and OpenSSL doesn't."""
    reason = read_blocks(content).passed_over
    if reason:
        yield Doubt(setting, file, f"{file}: a block in it is not read: {reason}", "or take it out, if it isn't needed")


def _fatal(setting: str, file: str, error: StartError) -> Doubt:
    return Doubt(setting, file, error.message, error.hint, fatal=True)


def _refusal(error: OSError) -> str:
    reason = str(getattr(error, "reason", None) or error.strerror or error).replace("_", " ").lower()
    what = "a block in it is damaged" if "pem lib" in reason else reason
    return f"OpenSSL can't use it: {what}"
