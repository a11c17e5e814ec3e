"""What can be said of the certificates that settings name, without any peer: at a start, and by ``config check``.

Both judge by these functions. A start logs what they find and goes on, unless a file can't be used at all (fatal); then
that is its one line. A program that runs says all of it, daily. That peers would refuse us is an error, but whom they
trust is theirs to say: one that lists our intermediate certificate among its authorities takes a leaf without it.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from eps.core.certificate import OWN, Doubt, about_authority, about_dates, subject_of
from eps.core.pem import UNREADABLE, certificates_in
from eps.core.signature import signing_certificate
from eps.errors import StartError
from eps.programs.wiring.credentials import tls_files, tls_sections
from eps.reasons import Reason
from eps.settings.fields import Model
from eps.settings.models import EpsSettings, MutualTlsSettings, SigningSettings, TlsSettings
from eps.settings.problems import Loc, Severity, render_path
from eps.settings.validate import walk
from eps.transport.credentials import read_file
from eps.transport.rehearsal import refusal
from eps.transport.tls import examine

_AUTHORITIES = ("ca_certificate_file", "ca_certificate_files", "ca_intermediate_certificate_files")


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong or doubtful.

    Attributes:
        loc: the setting.
        fatal: a start ends with it.
        reason: the word for it, if it has one.
    """

    loc: Loc
    text: str
    hint: str
    severity: Severity
    fatal: bool = False
    reason: Reason | None = None


class Certificates:
    """Those that ``settings`` name, as of ``now``."""

    def __init__(self, settings: Model, now: datetime) -> None:
        self._settings = settings
        self._now = now
        self._operator = settings.name if isinstance(settings, EpsSettings) else None
        self._sections = {loc: server for loc, _, server in tls_sections(settings)}

    def findings(self) -> Iterator[Finding]:
        """All of what a start uses; and of a certificate to sign with, which no start uses, whether it ends soon."""
        for loc, model in walk(self._settings):
            yield from self._about_signer(loc, model) if isinstance(model, SigningSettings) else self.about(loc, model)

    def about(self, loc: Loc, model: Model) -> Iterator[Finding]:
        """Of one section's own files."""
        if isinstance(model, TlsSettings):
            if loc in self._sections:
                yield from self._about_tls(loc, model, server=self._sections[loc])
        else:
            for key, name in authority_files(model):
                yield from self._about_signers_authority((*loc, *key), name)

    def _about_signer(self, loc: Loc, model: SigningSettings) -> Iterator[Finding]:
        file = model.certificate_file
        with suppress(StartError):  # config check says so
            certificate, _ = signing_certificate(read_file(file, f"signing.{OWN}"), file)
            for doubt in about_dates(certificate, file, self._now, OWN):
                yield found(loc, model, doubt)

    def about_name(self, loc: Loc, model: Model) -> Iterator[Finding]:
        """Whether the certificate of a section is the operator's."""
        if not isinstance(model, SigningSettings | MutualTlsSettings) or self._operator is None:
            return
        file = model.certificate_file
        try:
            subject = subject_of(certificates_in(read_file(file, OWN), file, OWN)[0])
        except (StartError, *UNREADABLE):  # told already
            return
        names = subject.tls_names if isinstance(model, MutualTlsSettings) else [subject.name] * bool(subject.name)
        if self._operator not in names:
            text = f"{file} is for {', '.join(names) or 'nobody'}, not for {self._operator}"
            hint = "an operator's certificate carries the operator's name"
            yield Finding((*loc, OWN), text, hint, Severity.ERROR)

    def _about_tls(self, loc: Loc, tls: TlsSettings, *, server: bool) -> Iterator[Finding]:
        files = tls_files(tls)
        doubts = examine(files, server=server, now=self._now)
        yield from (found(loc, tls, doubt) for doubt in doubts)
        if not files.certificate_file or any(doubt.fatal for doubt in doubts):
            return
        # Between EPS servers both sides have the same authorities, so what doesn't lead there is an error. A JSON-RPC
        # server may well trust other authorities than its own certificate's. Without a list nothing can be compared.
        reason = refusal(files, self._now, server=server) if files.ca_certificate_files else ""
        if reason:
            hint = (
                "peers will refuse it; is it from another CA, do those CAs lack the network's, or is the intermediate "
                "certificate missing from the file?"
            )
            severity = Severity.ERROR if isinstance(tls, MutualTlsSettings) else Severity.WARNING
            yield Finding((*loc, OWN), f"{files.certificate_file} {reason}", hint, severity)
        yield from self.about_name(loc, tls)

    def _about_signers_authority(self, place: Loc, name: str) -> Iterator[Finding]:
        try:
            setting = render_path(place)
            certificates = certificates_in(read_file(name, setting), name, setting)
        except StartError as error:
            yield Finding(place, error.message, error.hint, Severity.ERROR, fatal=True)
            return
        # Signatures are judged at their record's date, so what has expired may be right, and needed.
        hint = "name the new one too; this one is needed as long as the directory has records of its time"
        for certificate in certificates:
            for doubt in about_authority(certificate, name, self._now, hint):
                yield Finding(place, doubt.text, doubt.hint, Severity.WARNING)


def authority_files(model: Model) -> Iterator[tuple[Loc, str]]:
    """The files with authorities that a section names, and where."""
    for key in _AUTHORITIES:
        value = getattr(model, key, None)
        if isinstance(value, str):
            yield (key,), value
        elif isinstance(value, tuple):
            yield from (((key, index), name) for index, name in enumerate(value))


def found(loc: Loc, model: Model, doubt: Doubt) -> Finding:
    """A doubt, with the place of its file in the settings."""
    place: Loc = (*loc, doubt.setting)
    files = getattr(model, doubt.setting)
    if isinstance(files, tuple) and doubt.file in files:
        place = (*place, files.index(doubt.file))
    severity = Severity.ERROR if doubt.fatal else Severity.WARNING
    return Finding(place, doubt.text, doubt.hint, severity, doubt.fatal, doubt.reason)


def expiries(settings: Model) -> dict[str, float]:
    """When each certificate of ours ends, or the first of those in its file: the setting, and seconds since 1970.

    A file that can't be read now is left out; that is told elsewhere.
    """
    found: dict[str, float] = {}
    for loc, model in walk(settings):
        file = getattr(model, OWN, None)
        if isinstance(model, TlsSettings | SigningSettings) and file:
            setting = render_path((*loc, OWN))
            with suppress(StartError, *UNREADABLE):
                ends = [one.not_valid_after_utc for one in certificates_in(read_file(file, setting), file, setting)]
                found[setting] = min(ends).timestamp()
    return found


def at_a_start(settings: Model, now: datetime) -> tuple[Finding, ...]:
    """What a start says of certificates, each once. Nothing if something is fatal: that is its one line then."""
    findings = while_running(settings, now)
    return () if any(finding.fatal for finding in findings) else findings


def while_running(settings: Model, now: datetime) -> tuple[Finding, ...]:
    """What a program that runs says of them daily, each once: also what its next start would end with."""
    return tuple({finding.text: finding for finding in Certificates(settings, now).findings()}.values())
