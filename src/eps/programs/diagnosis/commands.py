"""The commands that look: from settings to what they print. Exit codes: 0 well, 1 not, 2 settings or a wrong name."""

import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eps.channels.jsonrpc_server import METHODS
from eps.core.names import Object
from eps.errors import BadParams, EpsError, SettingsError, StartError, UnknownOperator
from eps.programs.admin import commands as admin
from eps.programs.admin.screen import PIPE, show_lines
from eps.programs.diagnosis import doctor as diagnosis
from eps.programs.diagnosis import explain as why
from eps.programs.diagnosis import ping as pinging
from eps.programs.diagnosis import proxy_doctor as of_proxies
from eps.programs.diagnosis import sd_doctor as of_directory
from eps.programs.diagnosis import status as of_status
from eps.programs.diagnosis import trace as tracing
from eps.programs.diagnosis.finding import Finding, exit_code
from eps.programs.diagnosis.known import Known, known_directory, unknown_operator
from eps.programs.diagnosis.local import judge_settings, look
from eps.programs.diagnosis.paper import terminal
from eps.programs.diagnosis.report import report
from eps.programs.running.runtime import EXIT_CANNOT_START, EXIT_FAILED, fail, run
from eps.programs.wiring.parts import now
from eps.settings import EpsSettings, ProxySettings, SdSettings, load_proxy, load_sd

WELL = 0

DESCRIBE_SECONDS = 15.0
"""For our server to ask another operator what a method takes: it gives it 10 s."""


def with_settings(work: Callable[[EpsSettings], Coroutine[Any, Any, int]]) -> int:
    """Do a command's work with our settings; its exit code."""
    try:
        return run(work(admin.own_settings()))
    except (SettingsError, UnknownOperator, BadParams) as error:
        fail(error)
        return EXIT_CANNOT_START


async def explain(caller: str, callee: str, method: str, as_json: bool, settings: EpsSettings) -> int:
    """``eps explain``."""
    known = await known_directory(settings)
    found = why.explain(known, caller, callee, method)
    if as_json:
        admin.print_json(found.to_json() | {"directory": known.source})
    else:
        show_lines([why.explained(found, known, terminal())], rest=PIPE)
    return WELL if found.allowed else EXIT_FAILED


async def methods(operator: str, as_json: bool, whole: bool, settings: EpsSettings) -> int:
    """``eps methods``."""
    known = await known_directory(settings)
    own = known.entry(settings.name)
    found = why.offers(known.directory, own, known.entry(operator).name if operator else "")
    if operator and found:
        found = why.with_descriptions(found, await _described(operator, settings))
    if as_json:
        admin.print_json([one.to_json() for one in found])
    elif found:
        show_lines([why.listed(found, terminal())], whole=whole)
    else:
        whose = f"of {operator}" if operator else "of any other operator"
        print(f"{settings.name} may call no method {whose} ({known.source})", file=sys.stderr)
    return WELL if found else EXIT_FAILED


async def _described(operator: str, settings: EpsSettings) -> Object:
    """What our running server learns of an operator's methods; nothing, where it does not run."""
    try:
        client = admin.own_server_client(settings)
    except EpsError:
        return {}
    try:
        answer = await client.call(METHODS, {"operator": operator}, timeout=DESCRIBE_SECONDS)
    except EpsError:
        return {}
    finally:
        await client.close()
    return answer.result if answer.error is None and isinstance(answer.result, dict) else {}


async def ping(peer: str, times: int, timeout: float, as_json: bool, settings: EpsSettings) -> int:
    """``eps ping``."""
    known = await _known_or_none(settings)
    if known is not None:
        known.entry(peer)
    client = admin.own_server_client(settings)
    try:
        ask = partial(client.call, f"{peer}._ping", {}, timeout=timeout)
        found = await pinging.ping(peer, pinging.path_of(known, settings.name, peer), times, ask)
    finally:
        await client.close()
    if as_json:
        admin.print_json(found.to_json())
    else:
        print(pinging.rendered(found, terminal()), flush=True)
    if found.error is None:
        return WELL
    if not as_json:
        admin.tell_error(found.error)
    return EXIT_FAILED


def doctor(peer: str, as_json: bool) -> int:
    """``eps doctor``."""
    local = look("eps", os.environ, Path.cwd(), now())
    if not isinstance(local.settings, EpsSettings):
        return _tell("eps", judge_settings(local), as_json) and EXIT_CANNOT_START
    facts = run(diagnosis.gather(local.settings, local, peer))
    directory = facts.followed.directory
    if peer and directory is not None and directory.entries and directory.entry(peer) is None:
        fail(unknown_operator(Known(directory, "as far as it is known here"), peer))
        return EXIT_CANNOT_START
    return _tell(local.settings.name, diagnosis.judge(facts, now()), as_json)


def sd_doctor(as_json: bool) -> int:
    """``sd doctor``."""
    local = look("sd", os.environ, Path.cwd(), now())
    if not isinstance(local.settings, SdSettings):
        return _tell("sd", judge_settings(local), as_json) and EXIT_CANNOT_START
    facts = run(of_directory.gather(local.settings, local))
    return _tell(of_directory.NAME, of_directory.judge(facts, now()), as_json)


def proxy_doctor(as_json: bool) -> int:
    """``proxy doctor``."""
    local = look("proxy", os.environ, Path.cwd(), now())
    if not isinstance(local.settings, ProxySettings):
        return _tell("proxy", judge_settings(local), as_json) and EXIT_CANNOT_START
    facts = run(of_proxies.gather(local.settings))
    names = dict.fromkeys(one.section.name for one in facts)
    return _tell(f"the proxy of {', '.join(names)}", of_proxies.judge(local, facts, now()), as_json)


def trace(what: Sequence[str], as_json: bool, whole: bool) -> int:
    """``eps trace``: of a trace, of the last calls, or of files."""
    if what and all(tracing.is_file(one) for one in what):
        show_lines([tracing.timeline([tracing.read_export(Path(one)) for one in what], terminal())], whole=whole)
        return WELL
    return with_settings(partial(_trace, ("eps.control",), what[0] if what else "", as_json, whole))


def proxy_trace(wanted: str, as_json: bool, whole: bool) -> int:
    """``proxy trace``."""
    loaded = load_proxy(os.environ, Path.cwd()).settings
    sockets = [f"{kind}-proxy.control" for kind in ("public", "private") if getattr(loaded, kind) is not None]
    try:
        return run(_trace(sockets, wanted, as_json, whole, loaded))
    except BadParams as error:
        fail(error)
        return EXIT_CANNOT_START


async def _trace(
    sockets: Sequence[str], given: str, as_json: bool, whole: bool, settings: EpsSettings | ProxySettings
) -> int:
    wanted = tracing.check_trace(given) if given else ""
    folder = Path(settings.state_path)
    told = [export for socket in sockets if (export := await tracing.asked(folder, socket, wanted)) is not None]
    if not told:
        raise StartError(f"no server runs with the state folder {folder}", hint="what it saw is gone when it ends")
    found = next((export for export in told if export.events), told[0])
    if as_json:
        admin.print_json(found.to_json())
    else:
        shown = tracing.timeline([found], terminal()) if wanted else tracing.listed(found, terminal())
        show_lines([shown], whole=whole, last=not wanted)
    return WELL if found.events else EXIT_FAILED


def status(program: str, as_json: bool, watch: bool) -> int:
    """``eps status``, ``sd status``, ``proxy status``."""
    settings = _settings_of(program)
    kinds = ("public", "private") if isinstance(settings, ProxySettings) else ()
    sockets = [f"{kind}-proxy.control" for kind in kinds if getattr(settings, kind) is not None]
    run(of_status.show(Path(settings.state_path), sockets or [f"{program}.control"], as_json=as_json, watch=watch))
    return WELL


def _settings_of(program: str) -> EpsSettings | SdSettings | ProxySettings:
    if program == "eps":
        return admin.own_settings()
    return (load_sd if program == "sd" else load_proxy)(os.environ, Path.cwd()).settings


def _tell(title: str, findings: Sequence[Finding], as_json: bool) -> int:
    if as_json:
        admin.print_json({"well": not exit_code(findings), "findings": [one.to_json() for one in findings]})
    else:
        print(report(title, findings, terminal()))
    return exit_code(findings)


async def _known_or_none(settings: EpsSettings) -> Known | None:
    try:
        return await known_directory(settings)
    except EpsError:
        return None
