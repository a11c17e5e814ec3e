"""``proxy drain``, ``eps server drain``: a running server is told to come to its end, and says how that went.

Which process that is, its state folder says: the settings must be those that it was started with.
"""

import json
import os
import time
from pathlib import Path

from eps.core.wording import counted
from eps.errors import EpsError, StartError
from eps.programs.admin.commands import own_settings
from eps.programs.admin.store_owners import tell_warnings
from eps.programs.running.draining import Drained, drain
from eps.programs.running.runtime import EXIT_FAILED, fail, run
from eps.settings import ProxySettings, load_proxy

KINDS = ("public", "private")
"""Of proxies."""


def drain_server(*, wait: bool, as_json: bool) -> int:
    """``eps server drain``; its exit code."""
    folder = Path(own_settings().state_path).absolute()
    return run(_drain(folder, "EPS server", "eps", wait=wait, as_json=as_json))


def drain_proxy(kind: str, *, wait: bool, as_json: bool) -> int:
    """``proxy drain``; its exit code.

    Args:
        kind: one of :data:`KINDS`; empty: the one that the settings have.
    """
    loaded = load_proxy(os.environ, Path.cwd())
    tell_warnings(loaded.warnings)
    kind = kind or _only_kind(loaded.settings)
    folder, socket = Path(loaded.settings.state_path).absolute(), f"{kind}-proxy"
    return run(_drain(folder, f"{kind} proxy", socket, wait=wait, as_json=as_json))


def _only_kind(settings: ProxySettings) -> str:
    found = [kind for kind in KINDS if getattr(settings, kind) is not None]
    if len(found) > 1:
        raise StartError(
            "the settings are those of a public and of a private proxy: say which one is to come to its end",
            hint="proxy drain public, or proxy drain private",
        )
    return found[0]


async def _drain(folder: Path, what: str, socket: str, *, wait: bool, as_json: bool) -> int:
    began = time.monotonic()
    drained = await drain(folder, f"{socket}.control")
    if drained is None:
        raise EpsError(
            f"no {what} runs with the state folder {folder}: nothing was done",
            hint="the settings and the working directory must be those that it was started with",
        )
    try:
        if not as_json:
            print(f"{drained.name} {_what_it_does(drained)}", flush=True)
        cut = await drained.until_ended() if wait else None
    finally:
        drained.close()
    return _tell(drained, cut, time.monotonic() - began, as_json=as_json)


def _tell(drained: Drained, cut: int | None, seconds: float, *, as_json: bool) -> int:
    work = drained.work
    if as_json:
        ended = {"ended": cut is not None, "cut": cut, "seconds": None if cut is None else round(seconds, 3)}
        print(json.dumps({"name": drained.name, f"{work.what}s": work.running, "drain_timeout": work.timeout, **ended}))
    if cut is None:
        return 0
    if not cut:
        if not as_json:
            print(f"{drained.name} has ended, after {seconds:.1f} s; nothing was cut")
        return 0
    text = f"{drained.name} has ended, but {counted(cut, work.what)} had not within drain_timeout ({work.timeout:g} s)"
    hint = "calls that were running there may have been executed; with a longer drain_timeout they could end"
    fail(EpsError(f"{text}, and had to be cut", hint=hint))
    return EXIT_FAILED


def _what_it_does(drained: Drained) -> str:
    work = drained.work
    does = f"{'was ending already: it takes' if drained.already else 'ends: it takes'} no new {work.what}s, and "
    if not work.running:
        return f"{does}has none"
    return f"{does}the {counted(work.running, work.what)} that it has may end within {work.timeout:g} s"
