"""``config check``: all that can be known about settings without starting the program.

Beyond what loading settings does, it loads the certificates and keys that they name, by the functions that a start
loads them with, and asks what a start doesn't: do they lead to a CA that the settings trust, and name the operator?
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eps.core.certificate import OWN, Doubt, about_authority, about_dates, subject_of
from eps.core.pem import UNREADABLE, certificates_in
from eps.core.signature import Signer, load_signer, signing_certificate
from eps.errors import StartError
from eps.programs.wiring.credentials import tls_files, tls_sections, trust_store
from eps.settings import PROGRAMS, read_program
from eps.settings.fields import Model
from eps.settings.models import EpsSettings, MutualTlsSettings, SigningSettings, TlsSettings
from eps.settings.node import locate
from eps.settings.problems import Loc, Problem, Severity, describe_problems, render_path
from eps.settings.validate import walk
from eps.settings.variables import Prompt
from eps.transport.credentials import read_file
from eps.transport.rehearsal import refusal
from eps.transport.tls import examine

Finding = tuple[Loc, str, str, Severity]

_AUTHORITIES = ("ca_certificate_file", "ca_certificate_files", "ca_intermediate_certificate_files")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What ``config check`` found.

    Attributes:
        program: eps, sd or proxy.
        files: the settings files that were read.
        certificates: the certificate files that were read.
    """

    program: str
    files: tuple[str, ...]
    certificates: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether the program could start; warnings may remain."""
        return all(problem.severity is not Severity.ERROR for problem in self.problems)

    def describe(self) -> str:
        """For the terminal."""
        read = f"files read: {len(self.files)} of settings, {len(self.certificates)} of certificates"
        verdict = "the settings are fine" if not self.problems else describe_problems(self.problems)
        return f"{verdict}\n{read}"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "program": self.program,
            "ok": self.ok,
            "files": list(self.files),
            "certificates": list(self.certificates),
            "problems": [problem.to_json() for problem in self.problems],
        }


def check(
    program: str,
    environment: Mapping[str, str],
    folder: Path,
    prompt: Prompt | None = None,
    *,
    now: datetime | None = None,
) -> CheckReport:
    """Check the settings of ``program`` (eps, sd or proxy).

    Args:
        environment, folder, prompt: as for ``load_eps``.
        now: the (aware) time at which certificates must be valid; default: the present.
    """
    reading = read_program(program, PROGRAMS[program].model, environment, folder, prompt)
    problems = list(reading.problems)
    certificates: list[str] = []
    for finding in _findings(reading.settings, now or datetime.now(UTC), certificates) if reading.settings else ():
        loc, text, hint, severity = finding
        way, node, _ = locate(reading.tree, loc)
        # One file is named in many places; once is enough.
        if not any(problem.text == text for problem in problems):
            problems.append(Problem(node.origin.file, node.origin.line, render_path(way), text, hint, severity))
    return CheckReport(program, reading.files, tuple(dict.fromkeys(certificates)), tuple(problems))


def _findings(settings: Model, now: datetime, certificates: list[str]) -> Iterator[Finding]:
    operator = settings.name if isinstance(settings, EpsSettings) else None
    sections = {loc: server for loc, _, server in tls_sections(settings)}
    for loc, model in walk(settings):
        authorities = list(_authority_files(model))
        certificates += [name for _, name in authorities]
        if isinstance(model, TlsSettings | SigningSettings) and model.certificate_file:
            certificates.append(model.certificate_file)
        if loc in sections and isinstance(model, TlsSettings):
            yield from _check_tls(loc, model, now, server=sections[loc])
        elif not isinstance(model, TlsSettings):
            for key, name in authorities:
                yield from _check_signers_authority((*loc, *key), name, now)
        if isinstance(model, SigningSettings):
            yield from _check_signing(loc, model, now)
        if isinstance(model, SigningSettings | MutualTlsSettings) and operator is not None:
            yield from _check_name((*loc, OWN), model, operator)


def _authority_files(model: Model) -> Iterator[tuple[Loc, str]]:
    for key in _AUTHORITIES:
        value = getattr(model, key, None)
        if isinstance(value, str):
            yield (key,), value
        elif isinstance(value, tuple):
            yield from (((key, index), name) for index, name in enumerate(value))


# TLS: as a start loads it


def _check_tls(loc: Loc, tls: TlsSettings, now: datetime, *, server: bool) -> Iterator[Finding]:
    files = tls_files(tls)
    doubts = examine(files, server=server, now=now)
    yield from (_finding(loc, tls, doubt) for doubt in doubts)
    if not files.certificate_file or any(doubt.fatal for doubt in doubts):
        return
    # Between EPS servers both sides have the same authorities, so what doesn't lead there is an error. A JSON-RPC
    # server may well trust other authorities than its own certificate's. Without a list there is nothing to compare.
    reason = refusal(files, now, server=server) if files.ca_certificate_files else ""
    if reason:
        hint = "peers will refuse it; is it from another CA, or is the intermediate certificate missing from the file?"
        severity = Severity.ERROR if isinstance(tls, MutualTlsSettings) else Severity.WARNING
        yield (*loc, OWN), f"{files.certificate_file} {reason}", hint, severity


def _finding(loc: Loc, model: Model, doubt: Doubt) -> Finding:
    """A doubt, with the place of its file in the settings."""
    place: Loc = (*loc, doubt.setting)
    files = getattr(model, doubt.setting)
    if isinstance(files, tuple) and doubt.file in files:
        place = (*place, files.index(doubt.file))
    return place, doubt.text, doubt.hint, Severity.ERROR if doubt.fatal else Severity.WARNING


def _check_name(place: Loc, model: SigningSettings | MutualTlsSettings, operator: str) -> Iterator[Finding]:
    file = model.certificate_file
    try:
        subject = subject_of(certificates_in(read_file(file, OWN), file, OWN)[0])
    except (StartError, *UNREADABLE):  # told already
        return
    names = subject.tls_names if isinstance(model, MutualTlsSettings) else [subject.name] * bool(subject.name)
    if operator not in names:
        text = f"{file} is for {', '.join(names) or 'nobody'}, not for {operator}"
        yield place, text, "an operator's certificate carries the operator's name", Severity.ERROR


# Signatures: as records are signed and verified


def _check_signers_authority(place: Loc, name: str, now: datetime) -> Iterator[Finding]:
    try:
        setting = render_path(place)
        certificates = certificates_in(read_file(name, setting), name, setting)
    except StartError as error:
        yield place, error.message, error.hint, Severity.ERROR
        return
    # Signatures are judged at their record's date, so what has expired may be right, and needed.
    hint = "name the new one too; this one is needed as long as the directory has records of its time"
    for certificate in certificates:
        for doubt in about_authority(certificate, name, now, hint):
            yield place, doubt.text, doubt.hint, Severity.WARNING


def _check_signing(loc: Loc, model: SigningSettings, now: datetime) -> Iterator[Finding]:
    file, key_file, place = model.certificate_file, model.key_file, (*loc, OWN)
    try:
        content = read_file(file, f"signing.{OWN}")
        certificate, _ = signing_certificate(content, file)
    except StartError as error:
        yield place, error.message, error.hint, Severity.ERROR
        return
    for doubt in about_dates(certificate, file, now, OWN, fatal=True):
        yield _finding(loc, model, doubt)
    try:
        signer = load_signer(content, read_file(key_file, "signing.key_file"), certificate_file=file, key_file=key_file)
    except StartError as error:
        yield (*loc, "key_file"), error.message, error.hint, Severity.ERROR
    else:
        yield from _check_signers_chain(place, model, signer)


def _check_signers_chain(place: Loc, model: SigningSettings, signer: Signer) -> Iterator[Finding]:
    if model.ca_certificate_file is None:
        return
    try:
        trust = trust_store([model.ca_certificate_file], model.ca_intermediate_certificate_files)
    except StartError:  # told where the file is named
        return
    flaw = trust.leaf(signer.certificate_pem).flaw
    if flaw:
        hint = "its signatures will be refused; is it from another CA, or is an intermediate certificate not listed?"
        yield place, f"{model.certificate_file}: {flaw}", hint, Severity.ERROR
