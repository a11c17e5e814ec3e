"""``eps audit …``: the log's key, whether a log is whole, and what one call was, for both sides of it."""

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from eps.core import record_text
from eps.core.audit import KEY_BYTES, SALT_BYTES, Head, Line
from eps.core.audit_evidence import (
    ANSWERS,
    MAX_THEN,
    Evidence,
    answer_covered,
    asked_covered,
    described,
    head_from,
    head_json,
    read_evidence,
    shown,
)
from eps.core.audit_key import certified_key, claim, is_signed
from eps.core.audit_reading import Reading, head_in
from eps.core.instant import instant_of
from eps.core.message import CLIENT_KEY
from eps.core.names import Object
from eps.core.told import quoted
from eps.core.wording import counted
from eps.directory.json_files import read_json
from eps.errors import BadParams, SettingsError
from eps.pki import key_pem_of, new_key
from eps.programs.admin.commands import own_settings, print_json, signers_trust, signing_of
from eps.programs.wiring.audit import head_key, line_keys
from eps.programs.wiring.parts import now
from eps.settings import EpsSettings, models

SECRET, KEY, CLAIM = "audit.secret", "audit.key", "audit-key.json"
"""What ``eps audit key`` makes."""

MAX_LINE_BYTES = 64 * 1024
"""Ours have at most a sixteenth; what is longer is read as several, none of which is one."""

PACKED = frozenset({".gz", ".xz", ".bz2", ".zst"})
"""What log rotation makes of files that are old."""

SIGNED = "audit-key.signed.json"

FAILED = 1
"""The exit code of a log that is not whole, and of a call that was another."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody says that a call was: files with JSON; None: nothing is said."""

    params: Path | None = None
    result: Path | None = None
    error: Path | None = None


# The key


def make_key(folder: Path) -> None:
    """``eps audit key``: a secret, a key, and what is to be signed for it; nothing that is there is replaced."""
    name = own_settings().name
    folder.mkdir(parents=True, exist_ok=True)
    there = [each for each in (SECRET, KEY, CLAIM) if (folder / each).exists()]
    if there:
        raise SettingsError(f"{folder / there[0]}: is there already", hint="name another folder with --folder")
    key = new_key(True)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    _write_new(folder / SECRET, secrets.token_hex(KEY_BYTES).encode() + b"\n", 0o600)
    _write_new(folder / KEY, key_pem_of(key), 0o600)
    told = claim(key.public_key(), name, instant_of(now().replace(microsecond=0)).text)
    _write_new(folder / CLAIM, record_text.dumps(told, indent=True) + b"\n", 0o644)
    place = folder.absolute()
    print(
        f"made {folder / SECRET}, {folder / KEY}: they stay here, and only {name}'s server may read them\n"
        f"1. Sign for the key, once:  eps sd sign {folder / CLAIM} > {folder / SIGNED}\n"
        "2. Settings, and a restart:\n\n"
        f"audit:\n  file: audit.log\n  secret_file: {place / SECRET}\n  key_file: {place / KEY}\n"
        f"  certified_file: {place / SIGNED}"
    )


def _write_new(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(content)


# Whether a log is whole


def verify(files: Sequence[Path], heads: Sequence[Path], certified: Path | None, *, as_json: bool) -> int:
    """``eps audit verify``; the exit code."""
    settings = own_settings()
    operator, key, by = _signer(settings, certified)
    known = [_head_of(head) for head in heads]
    for path, (head, signature) in zip(heads, known, strict=True):
        if not is_signed(key, head, signature):
            raise SettingsError(f"{path}: the head is not signed with {operator}'s key")
    handed_out = [head for head, _ in known]
    reading = Reading(lambda head, signature: is_signed(key, head, signature), handed_out)
    for one, other in combinations(handed_out, 2):
        if (one.log, one.count) == (other.log, other.count) and one.hash != other.hash:
            reading.findings.append(f"two signed heads of {one.count} lines differ: {operator} keeps two logs as one")
    for _ in _lines(reading, files or [_own_file(settings)]):
        pass
    if as_json:
        print_json(_as_json(reading, operator))
    else:
        _print(reading, operator, by)
    return FAILED if reading.findings or not reading.lines else 0


def _as_json(reading: Reading, operator: str) -> Object:
    last = reading.last
    return {
        "operator": operator,
        "is_whole": not reading.findings,
        "lines": reading.lines,
        "calls": reading.calls,
        "first": reading.first,
        "last": last.number if last is not None else 0,
        "proven_up_to": reading.head[0].count if reading.head is not None else 0,
        "not_covered": reading.uncovered,
        "back": reading.back,
        "lost": reading.lost,
        "torn": reading.torn,
        "findings": reading.findings,
        "more_findings": reading.more,
        "head": head_json(*reading.head) if reading.head is not None else None,
    }


def _print(reading: Reading, operator: str, by: str) -> None:
    last = reading.last
    if last is None:
        print("there is no line of an audit log")
        return
    print(f"{operator}'s audit log, lines {reading.first} to {last.number}: {counted(reading.calls, 'call')}")
    if reading.first > 1:
        print(f"  the lines before {reading.first} are not in these files; name them first, if they are to be checked")
    if reading.head is not None:
        head, _ = reading.head
        print(f"  signed up to line {head.count} at {quoted(head.at)}, with the key that {by}")
    if reading.uncovered:
        print(
            f"  {counted(reading.uncovered, 'line')} at the end, which no signed head covers: nothing proves them yet"
        )
    if reading.lost:
        print(f"  {counted(reading.lost, 'call has', 'calls have')} no line, since the log could not be written then")
    for text in (*reading.torn, *reading.findings):
        print(f"  {text}")
    if reading.more:
        print(f"  and {reading.more:,} more of this kind")
    if reading.back:
        print(f"  {counted(reading.back, 'line is', 'lines are')} older than the line before: was the clock set back?")
    proven = reading.head[0].count if reading.head is not None else 0
    print("not whole" if reading.findings else f"whole up to line {proven}: no line was altered, taken out or moved")


def _signer(settings: EpsSettings, certified: Path | None) -> tuple[str, ec.EllipticCurvePublicKey, str]:
    """Whose log it is to be, the key of its heads, and who says that it is that one."""
    given = settings.audit
    path = certified or (Path(given.certified_file) if given is not None and given.certified_file else None)
    if path is not None:
        operator, key = certified_key(read_json(path), signers_trust(signing_of(settings)))
        return operator, key, f"{operator}'s administrator has signed for"
    key = head_key(_audit(settings)).public_key()
    return settings.name, key, "our settings name; no administrator has signed for it (audit.certified_file)"


def _audit(settings: EpsSettings) -> models.AuditSettings:
    if settings.audit is None:
        hint = "add audit with file, secret_file and key_file; eps audit key makes the last two"
        raise SettingsError("the settings have no section «audit»", hint=hint)
    return settings.audit


def _own_file(settings: EpsSettings) -> Path:
    return Path(_audit(settings).file)


def _lines(reading: Reading, files: Sequence[Path]) -> Iterator[Line]:
    """The lines of all files, as they are taken."""
    for path in files:
        try:
            if path.suffix in PACKED:
                raise SettingsError(f"{path}: is compressed", hint="unpack it first, gunzip --keep say")
            with path.open("rb") as file:
                for number, text in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                    line = reading.take(text.removesuffix(b"\n"), f"{path}:{number}", is_whole=text.endswith(b"\n"))
                    if line is not None:
                        yield line
        except OSError as error:
            raise SettingsError(f"{path}: can't be read: {error.strerror or error}", hint="check the path") from None
    reading.end()


# One call


def show_head(files: Sequence[Path]) -> None:
    """``eps audit head``: the last signed head."""
    settings = own_settings()
    _, key, _ = _signer(settings, None)
    reading = Reading(lambda head, signature: is_signed(key, head, signature))
    for _ in _lines(reading, files or [_own_file(settings)]):
        pass
    if reading.head is None:
        raise SettingsError("the log has no head yet", hint="one is signed a second after the first line")
    print_json(head_json(*reading.head))


def reveal(number: int, files: Sequence[Path]) -> None:
    """``eps audit reveal LINE``: that line, its key, and how it leads to a signed head."""
    settings = own_settings()
    given = _audit(settings)
    found, then, head = _found(number, files or [_own_file(settings)])
    call = found.what if isinstance(found.what, dict) else {}
    salt = bytes.fromhex(str(call.get("salt", "")))
    if len(salt) != SALT_BYTES:
        raise SettingsError(f"line {number} has no salt, so it has no key", hint="was it altered? eps audit verify")
    certified = read_json(given.certified_file) if given.certified_file else {}
    made = shown(found, line_keys(given).of(salt), then, head, certified)
    _believed(made, settings, "the evidence would not be believed")
    print_json(made)


def _found(number: int, files: Sequence[Path]) -> tuple[Line, list[bytes], tuple[Head, str]]:
    """A call's line, the digests of what is between it and the next head, and that."""
    found: Line | None = None
    then: list[bytes] = []
    for line in _lines(Reading(lambda *_: True), files):
        if found is None:
            if line.number == number and line.kind == "call":
                found = line
            continue
        head = head_in(line)
        if head is not None:
            return found, then, head
        then.append(line.digest)
        if len(then) > MAX_THEN:
            break
    if found is None:
        raise SettingsError(f"there is no call in line {number}", hint="LINE is the number that the line itself has")
    raise SettingsError(f"no signed head covers line {number} yet", hint="try again in a second")


def check(evidence: Path, asked: Asked) -> int:
    """``eps audit check``: what a revealed line says, and whether params and answer are those; the exit code."""
    settings = own_settings()
    shown_, operator = _believed(read_json(evidence), settings, str(evidence))
    print(*described(shown_, operator), sep="\n")
    told = list(_compared(shown_, asked))
    for kind, is_so in told:
        print(f"  {kind}: {'as given' if is_so else 'NOT as given'}")
    if not told:
        print("  nothing was compared: give --params, --result or --error", file=sys.stderr)
    return 0 if all(is_so for _, is_so in told) else FAILED


def _believed(value: Any, settings: EpsSettings, what: str) -> tuple[Evidence, str]:
    """The evidence in a JSON value, and whose log it is from.

    Raises:
        SettingsError: it can't be believed.
        RecordError: nobody who may has signed for the log's key.
    """
    try:
        shown_ = read_evidence(value)
        operator, key = certified_key(shown_.certified, signers_trust(signing_of(settings)))
    except BadParams as error:
        raise SettingsError(f"{what}: {error.message}", hint=error.hint) from None
    if not is_signed(key, shown_.head, shown_.signature):
        raise SettingsError(f"{what}: the head is not signed with {operator}'s key", hint="don't believe it")
    if operator not in (shown_.call.get("caller"), shown_.call.get("callee")):
        raise SettingsError(f"{what}: {operator} had no part in that call", hint="don't believe it")
    return shown_, operator


def _compared(evidence: Evidence, asked: Asked) -> Iterator[tuple[str, bool]]:
    if asked.params is not None:
        params = read_json(asked.params)
        if isinstance(params, dict):
            params = {key: value for key, value in params.items() if key != CLIENT_KEY}
        yield "params", evidence.confirms("params", asked_covered(params))
    for kind, path in zip(ANSWERS, (asked.result, asked.error), strict=True):
        if path is not None:
            yield kind, evidence.confirms(kind, answer_covered(kind, read_json(path)))


def _head_of(path: Path) -> tuple[Head, str]:
    try:
        return head_from(read_json(path))
    except BadParams as error:
        raise SettingsError(f"{path}: {error.message}", hint=error.hint) from None
