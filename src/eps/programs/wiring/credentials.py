"""Certificates that settings name, as plain values: for TLS, and whose signatures count."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256

from eps.core.certificate import OWN, fingerprint_of
from eps.core.event import Emit, Notice
from eps.core.instant import Instant, parse_instant
from eps.core.names import Fingerprint, Operator
from eps.core.pem import certificates_in
from eps.core.signature import INTERMEDIATE_SETTING, TrustStore
from eps.core.wording import shows
from eps.errors import Stage, StartError
from eps.settings import models
from eps.settings.fields import Model
from eps.settings.problems import Loc
from eps.settings.validate import walk
from eps.transport.credentials import read_file
from eps.transport.tls import TlsFiles

_SERVERS = (models.GrpcServerSettings, models.JsonRpcServerSettings, models.InternalEndpointSettings)
"""Settings with a section ``tls`` that is a server's."""


_FILES = (
    "certificate_file",
    "key_file",
    "ca_certificate_file",
    "ca_certificate_files",
    "ca_intermediate_certificate_files",
)


def tls_files(given: models.TlsSettings, own: Operator | None = None) -> TlsFiles:
    """TLS settings as plain values; ``own`` is always among the allowed names."""
    allowed, listed = given.allowed_names, given.allowed_fingerprints
    fingerprints = tuple(map(Fingerprint, listed)) if listed is not None else None
    if allowed is not None and own is not None:
        allowed = tuple(dict.fromkeys((own, *allowed)))  # without repetitions: refusals list them
    return TlsFiles(
        ca_certificate_files=given.ca_certificate_files,
        certificate_file=given.certificate_file or "",
        key_file=given.key_file or "",
        server_name=given.server_name,
        verify_client=given.verify_client,
        request_client_cert=given.request_client_cert,
        insecure_skip_verify=given.insecure_skip_verify,
        allowed_names=allowed,
        allowed_fingerprints=fingerprints,
    )


def own_fingerprints(*settings: Model) -> frozenset[Fingerprint]:
    """Of the certificates that settings name as ours: whoever shows one has a key that our own programs have.

    A file that can't be used is none of ours; where it is needed, the start says so.
    """
    found = set()
    for _, tls in (item for part in settings for item in walk(part)):
        if isinstance(tls, models.TlsSettings) and tls.certificate_file:
            with suppress(StartError):
                content = read_file(tls.certificate_file, OWN)
                found.add(fingerprint_of(certificates_in(content, tls.certificate_file, OWN)[0]))
    return frozenset(found)


def shown_to_operators(settings: models.EpsSettings) -> frozenset[Fingerprint]:
    """Of the certificates with which other operators are spoken to."""
    return own_fingerprints(*(given for given in (settings.grpc_client, settings.grpc_server) if given is not None))


class Shown:
    """Tells, at the start and when they are replaced, which certificates a server shows to whom.

    Args:
        who: the server.
        to: the others.
        settings: sections that name them.
        emit: told.
    """

    def __init__(self, who: str, to: str, settings: Sequence[Model], emit: Emit) -> None:
        self._who = who
        self._to = to
        self._fingerprints = own_fingerprints(*settings)
        self._emit = emit

    async def start(self) -> None:
        self._tell()

    async def close(self) -> None:
        """Nothing is open."""

    def renewed(self, *settings: Model) -> Callable[[], None]:
        """What takes other files over, which are read now."""
        return partial(self._use, own_fingerprints(*settings))

    def _use(self, fingerprints: frozenset[Fingerprint]) -> None:
        if fingerprints != self._fingerprints:
            self._fingerprints = fingerprints
            self._tell()

    def _tell(self) -> None:
        if self._fingerprints:
            self._emit(Notice(text=shows(self._who, self._to, self._fingerprints)))


def content_digest(files: TlsFiles) -> bytes:
    """Tells TLS files with one content from those with another, also where the settings are the same.

    Raises:
        StartError: one of them can't be read.
    """
    found = sha256(repr(replace(files, allowed_names=None, allowed_fingerprints=None)).encode())
    named = (("certificate_file", files.certificate_file), ("key_file", files.key_file))
    authorities = (("ca_certificate_files", path) for path in files.ca_certificate_files)
    for setting, path in (*named, *authorities):
        if path:
            found.update(sha256(read_file(path, setting)).digest())
    return found.digest()


def named_files(settings: Model) -> tuple[str, ...]:
    """Every file with certificates or keys that settings name."""
    found: list[str] = []
    for _, model in walk(settings):
        for name in _FILES:
            value = getattr(model, name, None)
            found += [value] if isinstance(value, str) else value or ()
    return tuple(dict.fromkeys(found))


def directory_trust(given: models.ApiDirectorySettings | models.SdDirectorySettings) -> TrustStore:
    """Whose change records count; raises StartError naming a file that can't be used."""
    return trust_store(
        given.ca_certificate_files,
        given.ca_intermediate_certificate_files,
        pinned_only=given.require_pinned_signers,
        canonical_from=_canonical_from(given),
    )


def _canonical_from(given: models.ApiDirectorySettings | models.SdDirectorySettings) -> Instant | None:
    """Who follows demands canonical signatures; a service directory only keeps them."""
    date = given.require_canonical_signatures if isinstance(given, models.ApiDirectorySettings) else None
    return parse_instant(date) if date is not None else None


def trust_store(
    roots: Sequence[str],
    intermediates: Sequence[str],
    *,
    pinned_only: bool = False,
    canonical_from: Instant | None = None,
) -> TrustStore:
    """Whose signatures count; raises StartError naming a file that can't be used."""
    setting, below = "ca_certificate_files", INTERMEDIATE_SETTING
    try:
        return TrustStore.from_pem(
            {path: read_file(path, setting) for path in roots},
            {path: read_file(path, below) for path in intermediates},
            pinned_only=pinned_only,
            canonical_from=canonical_from,
        )
    except StartError as error:
        error.stage = Stage.DIRECTORY
        raise


def tls_sections(settings: Model) -> Iterator[tuple[Loc, models.TlsSettings, bool]]:
    """Every section ``tls`` that a start loads: its place, itself, and whether it is a server's.

    Clients of ``http`` URLs load none.
    """
    unused: set[Loc] = set()
    for loc, model in walk(settings):
        urls = getattr(model, "endpoints", None) or (getattr(model, "endpoint", "https:"),)
        if all(url.lower().startswith("http:") for url in urls):
            unused |= {(*loc, "tls"), (*loc, "jsonrpc_client", "tls")}
        tls, place = getattr(model, "tls", None), (*loc, "tls")
        if isinstance(tls, models.TlsSettings) and place not in unused:
            yield place, tls, isinstance(model, _SERVERS)
