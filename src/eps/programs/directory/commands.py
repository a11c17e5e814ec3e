"""``eps directory …``: from settings to what is printed. Data go to standard output, all else to standard error."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from eps.core import record_text
from eps.core.chain import ADMIN_GROUP, Chain
from eps.core.names import Object
from eps.core.record import SignedRecord
from eps.core.removal import removal
from eps.core.signature import Signer
from eps.core.verdict import unfit
from eps.core.wording import counted, plain
from eps.directory.json_files import FileRecord, read_json, records_of
from eps.directory.slices import last_chain
from eps.errors import EpsError, RecordError, SettingsError
from eps.programs.admin import review, scrutiny
from eps.programs.admin.commands import (
    Submission,
    directory_of,
    nothing_submitted,
    print_json,
    show_plan,
    signer_of,
    submit_found,
    tell_submitted,
    told,
)
from eps.programs.admin.plan import Plan, plan_on
from eps.programs.admin.records import Submitted, sign_chain, submit_signed
from eps.programs.admin.screen import ALL, at_screen, show_lines
from eps.programs.diagnosis.known import Known
from eps.programs.diagnosis.paper import terminal
from eps.programs.directory import slip as slips
from eps.programs.directory.changes import Wanted, changes_nothing, read_wanted
from eps.programs.directory.shown import entry_json, entry_lines, history, history_lines, overview
from eps.programs.directory.signed import as_file, check_follows, is_signed, read_signed
from eps.programs.directory.source import Present, present_directory
from eps.programs.running.runtime import EXIT_FAILED, run
from eps.programs.wiring.parts import now
from eps.settings import EpsSettings


@dataclass(frozen=True, slots=True)
class Look:
    """How the directory is looked at.

    Attributes:
        only_copy: ask nobody: our server's verified copy will do.
        copy_will_do: where nobody can be asked.
        foreign: keys of settings that servers of another make read.
        whole: all of it, also if it is more than a screen.
    """

    only_copy: bool = False
    as_json: bool = False
    strict: bool = False
    copy_will_do: bool = True
    foreign: Sequence[str] = ()
    whole: bool = False


LAST = 20
"""Records that ``log`` shows unless told otherwise."""

BESIDE = 3
"""Lines of a screen that hold where the directory is from, and how many records there are besides."""

SUBMITTING = Look(copy_will_do=False)
"""Whoever is to submit something must be able to ask."""


def _present(settings: EpsSettings, look: Look) -> Present:
    present = run(present_directory(settings, only_copy=look.only_copy, copy_will_do=look.copy_will_do))
    if present.warning:
        review.warn(present.warning)
    review.tell(present.source)
    return present


def _show(lines: Iterable[str], look: Look, rest: str = ALL) -> None:
    show_lines(map(plain, lines), whole=look.whole, rest=rest, beside=BESIDE)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(plain(line))


# Looking


def show(name: str, look: Look, settings: EpsSettings) -> int:
    """``eps directory show``."""
    present = _present(settings, look)
    trust = present.chain.trust
    entries = [Known(present.directory, present.source).entry(name)] if name else present.directory.entries.values()
    if look.as_json:
        found = [entry_json(entry, trust) for entry in entries]
        print_json(found[0] if name else found)
    elif name:
        _show((line for entry in entries for line in entry_lines(entry, trust)), look)
    else:
        rows, paper = list(overview(present.directory)), terminal()
        columns = max((len(who) for who, _ in rows), default=0) + 2
        show_lines((paper.row(plain(who), plain(what), columns) for who, what in rows), whole=look.whole, beside=BESIDE)
    return 0


def log(name: str, look: Look, most: int | None, settings: EpsSettings) -> int:
    """``eps directory log``.

    Args:
        most: how many records are wanted; None: ``LAST``, of which a terminal shows a screen.
    """
    present = _present(settings, look)
    if name:
        Known(present.directory, present.source).entry(name)
    steps = history(present.chain, name)
    shown = list(islice(steps, None if look.whole else most or LAST))
    if look.as_json:
        print_json([step.to_json() for step in shown])
    else:
        _show(history_lines(shown), replace(look, whole=look.whole or most is not None), rest=f"-n {len(shown)}")
    if len(shown) < len(steps):
        review.tell(f"the last {len(shown)} of {counted(len(steps), 'record')}; --all shows all")
    return 0


def diff(path: Path, look: Look, settings: EpsSettings) -> int:
    """``eps directory diff``."""
    present = _present(settings, look)
    plan = plan_on(read_wanted(path, present.directory).found, present.chain)
    if look.as_json:
        print_json([change.to_json() for change in plan.changes])
    else:
        _show(review.lines_of(plan.changes), look)
    return 0


def check(path: Path, look: Look, settings: EpsSettings) -> int:
    """``eps directory check``; exit code 1 if somebody who signs would be told that it is wrong."""
    present = _present(settings, look)
    wanted = read_wanted(path, present.directory, look.foreign)
    plan = plan_on(wanted.found, present.chain)
    wrong, doubts, about = _findings(wanted, plan, present)
    failed = bool(wrong) or (look.strict and bool(doubts))
    if look.as_json:
        print_json({"ok": not failed, "slip": about, "wrong": wrong} | told(plan) | {"doubts": doubts})
        return EXIT_FAILED if failed else 0
    _print(f"{key}: {value}" for key, value in (about or {}).items() if value)
    _print(review.lines_of(plan.changes, review.MAX_LINES if at_screen() and not look.whole else None, ALL))
    _print([*(f"wrong: {text}" for text in wrong), *(f"doubtful: {text}" for text in doubts)])
    _print(["nothing speaks against signing it"] if not wrong and not doubts else [])
    return EXIT_FAILED if failed else 0


def _findings(wanted: Wanted, plan: Plan, present: Present) -> tuple[list[str], list[str], Object | None]:
    """What is wrong, what is doubtful, and what there is to say of the slip."""
    wrong, doubts = _unfit(wanted.found), _doubts(plan)
    slip = wanted.slip
    if slip is None:
        return wrong, doubts, None
    verdict = slips.judge(slip, wanted.found, present.directory, present.chain.trust, now())
    about = {
        "operator": slip.operator,
        "proposed": slip.proposed_at,
        "why": slip.why,
        "code": slips.code_of(slip.content),
        "signed by": verdict.by,
    }
    return [*verdict.wrong, *wrong], [*verdict.doubts, *doubts], about


def _doubts(plan: Plan) -> list[str]:
    """What is doubtful; among it what servers in use can't read, since nobody is asked whether one follows."""
    refusal = scrutiny.foreign_refusal(plan.found)
    return [*plan.doubts, *([str(refusal)] if refusal else [])]


def _unfit(found: Sequence[FileRecord]) -> list[str]:
    try:
        scrutiny.check_fit(found)
    except SettingsError as error:
        return [error.message]
    return []


# Proposing


def propose(path: Path, why: str, output: Path | None, look: Look, settings: EpsSettings) -> int:
    """``eps directory propose``: the slip, on standard output or in ``output``."""
    signer = signer_of(settings) if settings.signing is not None else None
    present = _present(settings, look)
    wanted = read_wanted(path, present.directory, look.foreign)
    if wanted.slip is not None:
        raise SettingsError(f"{path}: is a change slip already", hint="send it to an administrator of the directory")
    _check_own(wanted.found, settings.name, signer)
    scrutiny.check_fit(wanted.found)
    plan = plan_on(wanted.found, present.chain)
    review.tell(*review.lines_of(plan.changes, review.MAX_LINES))
    if not plan.changes:
        raise changes_nothing(path)
    if not review.settle(plan.doubts, strict=look.strict, ask=True):
        review.tell("nothing was proposed")
        return EXIT_FAILED
    made = slips.make(settings.name, why[: slips.MAX_WHY_CHARS], wanted.found, present.directory, now(), signer)
    _write(made, output)
    by = f"signed by {signer.subject}" if signer else "not signed, since the settings have no section «signing»"
    review.tell(f"the slip's code is {made['code']}; {by}. Send it to an administrator of the directory")
    return 0


def _check_own(found: Sequence[FileRecord], name: str, signer: Signer | None) -> None:
    others = sorted({item.record.name for item in found} - {name})
    if others and (signer is None or ADMIN_GROUP not in signer.subject.groups):
        raise SettingsError(
            f"{found[0].file}: changes the entry of {', '.join(others)}, but we are {name}",
            hint="only an administrator of the directory may propose changes of others",
        )


def _write(value: Object, output: Path | None) -> None:
    if output is None:
        print_json(value)
        return
    try:
        output.write_bytes(record_text.dumps(value, indent=True) + b"\n")
    except OSError as error:
        raise EpsError(f"{output} can't be written: {error.strerror}", hint="check the path") from None


# Signing and submitting


def sign(path: Path, output: Path | None, look: Look, settings: EpsSettings) -> int:
    """``eps directory sign``: signed records, on standard output or in ``output``."""
    signer = signer_of(settings)
    present = _present(settings, look)
    wanted = read_wanted(path, present.directory, look.foreign)
    scrutiny.check_fit(wanted.found)
    plan = plan_on(wanted.found, present.chain)
    review.tell(*review.lines_of(plan.changes, review.MAX_LINES))
    doubts = [*_about_slip(wanted, present.chain), *_doubts(plan)]
    if not review.settle(doubts, strict=look.strict, ask=True):
        review.tell("nothing was signed")
        return EXIT_FAILED
    signed = sign_chain(wanted.found, present.chain.tip, signer, now())
    run(_verified(present.chain, signed))
    _write(as_file(signed), output)
    review.tell(
        f"signed {counted(len(signed), 'record')}; eps directory submit FILE submits them, if nothing else is first"
    )
    return 0


async def _verified(chain: Chain, signed: Sequence[SignedRecord]) -> Chain:
    return await last_chain(chain.extending(signed, now(), unfit), chain, signed)


def _about_slip(wanted: Wanted, chain: Chain) -> Sequence[str]:
    """What is doubtful about the slip; raises RecordError where it must not be signed."""
    slip = wanted.slip
    if slip is None:
        return ()
    verdict = slips.judge(slip, wanted.found, chain.directory, chain.trust, now())
    if verdict.wrong:
        hint = f"nothing was signed; have {slip.operator} propose it again"
        raise RecordError(f"{wanted.found[0].file}: {'; '.join(verdict.wrong)}", hint=hint)
    return verdict.doubts


def submit(path: Path, how: Submission, settings: EpsSettings) -> int:
    """``eps directory submit``: what was signed as it is; all else is signed first."""
    value = read_json(path) if path.is_file() else None
    if is_signed(value):
        return _submit_signed(path, value, how, settings)
    present = _present(settings, SUBMITTING)
    wanted = read_wanted(path, present.directory, how.foreign)
    return submit_found(wanted.found, how, settings, lambda plan: _about_slip(wanted, plan.present or present.chain))


def _submit_signed(path: Path, value: object, how: Submission, settings: EpsSettings) -> int:
    present = _present(settings, SUBMITTING)
    chain = run(read_signed(value, str(path)))
    check_follows(chain, present.chain.tip, str(path))
    run(_verified(present.chain, chain))
    found = [FileRecord(str(path), index, one.record) for index, one in enumerate(chain)]
    plan = plan_on(found, present.chain)
    show_plan(plan, how)
    if how.dry_run:
        return nothing_submitted(0)
    done = run(_send(chain, how.wait, settings))
    tell_submitted(done, how, plan)
    return 0


async def _send(chain: Sequence[SignedRecord], wait: float, settings: EpsSettings) -> Submitted:
    async with directory_of(settings, wait) as calls:
        return await submit_signed(chain, calls=calls, tell=review.warn)


def remove(name: str, how: Submission, settings: EpsSettings) -> int:
    """``eps directory remove``."""
    present = _present(settings, SUBMITTING)
    entry = Known(present.directory, present.source).entry(name)
    records = removal(entry)
    if not records:
        raise EpsError(f"{name} is removed already", hint="eps directory log shows when, and by whom")
    if name == settings.name or (not how.dry_run and name == signer_of(settings).subject.name):
        raise EpsError(
            f"{name} can't remove itself: with its pin gone, the rest of what it signs would not count",
            hint="another administrator of the directory has to",
        )
    found = records_of({"records": records}, f"remove {name}")
    return submit_found(found, replace(how, question=f"Remove {name} from the directory? [y/N] "), settings)
