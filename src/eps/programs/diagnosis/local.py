"""What can be known of a program without asking anybody: its settings, its files' modes, its certificates."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shutil import disk_usage

from eps.core.certificate import Subject, subject_of
from eps.core.pem import certificates_in
from eps.core.wording import counted
from eps.errors import StartError
from eps.programs.admin.check import certificate_findings
from eps.programs.diagnosis.finding import Finding, Mark, well
from eps.programs.wiring.certificates import Finding as Doubt
from eps.reasons import Reason
from eps.settings import PROGRAMS, read_program
from eps.settings.fields import Model
from eps.settings.models import SigningSettings
from eps.settings.problems import Problem, Severity
from eps.settings.validate import walk
from eps.transport.credentials import about_key_file, read_file

SETTINGS, KEYS, CERTIFICATES = "settings", "key modes", "certificates"
"""The groups."""

LITTLE_ROOM = 4 * 1024 * 1024
"""Bytes: less than the cache of a directory of some thousand records."""


@dataclass(frozen=True, slots=True)
class Mode:
    """Of a file or folder that nobody else should read.

    Attributes:
        doubt: what is wrong with it; "" if nothing is.
    """

    path: str
    mode: int
    doubt: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate of ours.

    Attributes:
        ends: until when it is valid.
        signing: whether it signs records; else it is shown to others.
    """

    file: str
    subject: Subject
    ends: datetime
    signing: bool = False


@dataclass(frozen=True, slots=True)
class Local:
    """The facts.

    Attributes:
        variable: where the settings are named.
        settings: None: they can't be used.
        doubts: about certificates and their keys.
        room: a folder on the disk of the state folder, and the bytes that are free there.
    """

    variable: str
    files: tuple[str, ...]
    problems: tuple[Problem, ...]
    settings: Model | None = None
    doubts: tuple[Doubt, ...] = ()
    modes: tuple[Mode, ...] = ()
    certificates: tuple[Shown, ...] = ()
    room: tuple[str, int] | None = None


def look(program: str, environment: Mapping[str, str], folder: Path, now: datetime) -> Local:
    """Read the settings of ``program``, and the files that they name."""
    variable = PROGRAMS[program].variable
    reading = read_program(program, PROGRAMS[program].model, environment, folder)
    if reading.settings is None:
        return Local(variable, reading.files, reading.problems)
    model = reading.settings
    return Local(
        variable,
        reading.files,
        reading.problems,
        model,
        tuple(certificate_findings(model, now)),
        (*_key_modes(model), *_folder_mode(Path(getattr(model, "state_path", "")))),
        tuple(_certificates(model)),
        _room(Path(getattr(model, "state_path", ""))),
    )


def _room(folder: Path) -> tuple[str, int] | None:
    """The state folder may not be there yet: then it is made below one that is."""
    for one in (folder, *folder.absolute().parents):
        try:
            return str(one), disk_usage(one).free
        except OSError:
            continue
    return None


def _key_modes(model: Model) -> Iterator[Mode]:
    files = [name for _, part in walk(model) if isinstance(name := getattr(part, "key_file", None), str)]
    for file in dict.fromkeys(files):
        try:
            mode = stat.S_IMODE(os.stat(file).st_mode)
        except OSError:
            continue  # whoever reads it says so
        doubt = next(about_key_file(file), None)
        yield Mode(file, mode, doubt.text if doubt else "", doubt.hint if doubt else "")


def _folder_mode(folder: Path) -> Iterator[Mode]:
    try:
        mode = stat.S_IMODE(os.stat(folder).st_mode)
    except OSError:
        return  # it is made at the first start
    doubt = f"{folder}: other users of this machine may look into it, or change it (mode {mode:04o})"
    yield Mode(str(folder), mode, doubt if mode & 0o007 else "", "chmod 700 it" if mode & 0o007 else "")


def _certificates(model: Model) -> Iterator[Shown]:
    seen: set[str] = set()
    for _, part in walk(model):
        file = getattr(part, "certificate_file", None)
        if not isinstance(file, str) or file in seen:
            continue
        seen.add(file)
        try:
            leaf = certificates_in(read_file(file, "certificate_file"), file, "certificate_file")[0]
        except StartError:
            continue  # among the doubts
        yield Shown(file, subject_of(leaf), leaf.not_valid_after_utc, isinstance(part, SigningSettings))


# What follows


def judge_settings(facts: Local) -> list[Finding]:
    """Of the settings files."""
    problems = [
        Finding(
            SETTINGS,
            Mark.WRONG if problem.severity is Severity.ERROR else Mark.DOUBTFUL,
            f"{problem.file}: {problem.path}" if problem.path else problem.file,
            problem.text + (f" (line {problem.line})" if problem.line else ""),
            "ours",
            problem.hint or "correct it; docs/reference-settings.md has every setting",
            Reason.SETTINGS,
        )
        for problem in facts.problems
    ]
    if facts.settings is None:
        return problems
    return [well(SETTINGS, f"{facts.variable}: {counted(len(facts.files), 'file')} read"), *problems]


def judge_modes(facts: Local) -> list[Finding]:
    """Of keys, of the state folder, and of the disk that it is on."""
    fine = [mode for mode in facts.modes if not mode.doubt]
    private = [well(KEYS, f"{counted(len(fine), 'key or folder is', 'keys and folders are')} private")] if fine else []
    return [*private, *(_open(mode) for mode in facts.modes if mode.doubt), *_disk(facts.room)]


def _open(mode: Mode) -> Finding:
    return Finding(KEYS, Mark.DOUBTFUL, mode.doubt, "", "ours", mode.fix, Reason.KEY_READABLE)


def _disk(room: tuple[str, int] | None) -> list[Finding]:
    if room is None or room[1] >= LITTLE_ROOM:
        return []
    why = f"{room[1] / 2**20:.1f} MiB are free: what the server verifies and learns can't be kept"
    return [Finding(KEYS, Mark.WRONG, f"the disk of {room[0]} is full", why, "ours", "make room", Reason.DISK_FULL)]


def judge_certificates(facts: Local, now: datetime) -> list[Finding]:
    """Of our certificates and the authorities that settings name."""
    told = {mode.doubt for mode in facts.modes}
    doubts = {doubt.text: doubt for doubt in facts.doubts if doubt.text not in told}.values()
    bad = {doubt.text.partition(":")[0] for doubt in doubts}
    fine = [_fine(shown, now) for shown in facts.certificates if shown.file not in bad]
    return [*fine, *map(_doubtful, doubts)]


def _fine(shown: Shown, now: datetime) -> Finding:
    left = counted((shown.ends - now).days, "day")
    names = shown.subject.name if shown.signing else ", ".join(shown.subject.tls_names[:3])
    use = "signs records" if shown.signing else "TLS"
    what = f"{Path(shown.file).name}: {names} ({use}), valid until {shown.ends:%Y-%m-%d}, for {left}"
    return well(CERTIFICATES, what, f"SHA-256 {shown.subject.fingerprint}")


def _doubtful(doubt: Doubt) -> Finding:
    mark = Mark.WRONG if doubt.severity is Severity.ERROR else Mark.DOUBTFUL
    return Finding(CERTIFICATES, mark, doubt.text, "", "ours", doubt.hint, doubt.reason or "")
