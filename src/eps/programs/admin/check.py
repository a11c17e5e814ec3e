"""``config check``: all that can be known about settings without starting the program.

Beyond what loading settings does, it loads the certificates and keys that they name, and judges them, by the functions
that a start has for that (``wiring.certificates``); and those for signing, which no server loads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eps.core.certificate import OWN, about_dates
from eps.core.event import ignore
from eps.core.names import Operator
from eps.core.signature import Signer, load_signer, signing_certificate
from eps.errors import EpsError, StartError
from eps.programs.admin.recovery import copy_of
from eps.programs.running.runtime import run
from eps.programs.wiring.audit import audit_log
from eps.programs.wiring.certificates import Certificates, Finding, authority_files, found
from eps.programs.wiring.credentials import shown_to_operators, trust_store
from eps.reasons import TABLE, Reason
from eps.settings import PROGRAMS, read_program
from eps.settings.fields import Model
from eps.settings.models import EpsSettings, SigningSettings, TlsSettings
from eps.settings.node import locate
from eps.settings.problems import Loc, Problem, Severity, describe_problems, render_path
from eps.settings.validate import walk
from eps.settings.variables import Prompt
from eps.transport.credentials import about_key_file, read_file


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
        """Whether the program could start, and peers with the same authorities take its certificate; warnings may
        remain."""
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
        way, node, _ = locate(reading.tree, finding.loc)
        # One file is named in many places; once is enough.
        if not any(problem.text == finding.text for problem in problems):
            place = (node.origin.file, node.origin.line, render_path(way))
            problems.append(Problem(*place, finding.text, finding.hint, finding.severity))
    if isinstance(reading.settings, EpsSettings) and not any(one.severity is Severity.ERROR for one in problems):
        problems += _own_pin(reading.settings, reading.files)
    return CheckReport(program, reading.files, tuple(dict.fromkeys(certificates)), tuple(problems))


def _own_pin(settings: EpsSettings, files: Sequence[str]) -> Iterator[Problem]:
    """Whether the directory, as our server last verified it, pins the certificates that we show to other operators."""
    try:
        entry = run(copy_of(settings)).directory.entry(Operator(settings.name))
    except EpsError:  # it knows none yet, or follows files
        return
    for missing in sorted(shown_to_operators(settings) - entry.pins) if entry is not None else ():
        text = f"the directory, as our server last verified it, does not pin {missing} for {settings.name}"
        hint = f"other operators refuse it: {TABLE[Reason.OWN_PIN].do}"
        yield Problem(files[0], 0, OWN, text, hint, Severity.ERROR)


def certificate_findings(settings: Model, now: datetime) -> Iterator[Finding]:
    """What is to be said of the certificates and keys that ``settings`` name, those for signing included."""
    return _findings(settings, now, [])


def _check_audit(settings: EpsSettings) -> Iterator[Finding]:
    """Whether a start could use the audit log's secret, its key, and what was signed for that."""
    try:
        audit_log(settings, ignore)
    except StartError as error:
        yield Finding(("audit",), error.message, error.hint, Severity.ERROR, reason=error.reason)
    if settings.audit is not None and settings.audit.certified_file is None:
        text = "no administrator has signed for the audit log's key: evidence from it will not be believed"
        yield Finding(("audit", "certified_file"), text, "have audit-key.json signed: eps sd sign", Severity.WARNING)


def _findings(settings: Model, now: datetime, certificates: list[str]) -> Iterator[Finding]:
    judging = Certificates(settings, now)
    if isinstance(settings, EpsSettings) and settings.audit is not None:
        yield from _check_audit(settings)
    for loc, model in walk(settings):
        certificates += [name for _, name in authority_files(model)]
        if isinstance(model, TlsSettings | SigningSettings) and model.certificate_file:
            certificates.append(model.certificate_file)
        yield from judging.about(loc, model)
        if isinstance(model, SigningSettings):
            yield from _check_signing(loc, model, now)
            yield from judging.about_name(loc, model)


# Signatures: as records are signed


def _check_signing(loc: Loc, model: SigningSettings, now: datetime) -> Iterator[Finding]:
    file, key_file, place = model.certificate_file, model.key_file, (*loc, OWN)
    try:
        content = read_file(file, f"signing.{OWN}")
        certificate, _ = signing_certificate(content, file)
    except StartError as error:
        yield Finding(place, error.message, error.hint, Severity.ERROR)
        return
    for doubt in (*about_dates(certificate, file, now, OWN, fatal=True), *about_key_file(key_file)):
        yield found(loc, model, doubt)
    try:
        signer = load_signer(content, read_file(key_file, "signing.key_file"), certificate_file=file, key_file=key_file)
    except StartError as error:
        yield Finding((*loc, "key_file"), error.message, error.hint, Severity.ERROR)
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
        yield Finding(place, f"{model.certificate_file}: {flaw}", hint, Severity.ERROR)
