"""Our clock, beside those of others. Named before any date is: a wrong clock makes good certificates expire."""

import asyncio
import os
from collections.abc import Sequence

from eps.core.clock import MAX_OFF_SECONDS, how_far
from eps.core.host_port import address_of
from eps.core.http_proxy import http_proxies
from eps.programs.diagnosis.finding import Finding, Mark, unknown, well
from eps.programs.diagnosis.probes import Reached, Target, reach
from eps.programs.wiring.credentials import tls_files
from eps.programs.wiring.parts import now
from eps.reasons import Reason
from eps.settings import EpsSettings, ProxySettings, SdSettings, models
from eps.transport.own_clock import OWN_CLOCK
from eps.transport.tls import TlsFiles

CLOCK = "clock"

EPS = "our EPS server"

START_SECONDS = 2.0
"""For the time to be told to a start that ends with a wrong date: no longer shall its one line be waited for."""


def judge_clock(reached: Sequence[Reached]) -> list[Finding]:
    """Whether ours agrees with those that told their time."""
    told = [(one.target.who, one.ahead) for one in reached if one.ahead is not None]
    if not told:
        return [unknown(CLOCK, "not compared: nobody told the time", fix="compare it with another clock: date -u")]
    off = [(who, ahead) for who, ahead in told if abs(ahead) > MAX_OFF_SECONDS]
    if not off:
        return [well(CLOCK, f"agrees with {' and '.join(dict.fromkeys(who for who, _ in told))}")]
    return [_off(who, ahead, others=len(told) - len(off)) for who, ahead in off]


def _off(who: str, ahead: float, others: int) -> Finding:
    why = "certificates seem expired, or not valid yet, and records seem of the future, when they are not"
    why += "; but other clocks agree with ours, so it may be theirs" if others else "; a third clock tells whose it is"
    fix = "set the clock (timedatectl, chronyc tracking), then run this again: until then, believe no date below"
    what = f"our clock is {how_far(ahead)} that of {who}"
    return Finding(CLOCK, Mark.WRONG, what, why, "ours", fix, Reason.OWN_CLOCK)


# Who tells the time: those whom the running server asks, too


def hours_of(settings: EpsSettings) -> list[Target]:
    """The service directories of an EPS server."""
    if not isinstance(settings.directory, models.ApiDirectory):
        return []
    given = settings.directory.settings
    names = (*given.server_names, *([""] * len(given.endpoints)))
    return [_sd_target(given.jsonrpc_client, url, name) for url, name in zip(given.endpoints, names, strict=False)]


def _sd_target(given: models.JsonRpcClientOptions, endpoint: str, name: str) -> Target:
    files = tls_files(given.tls) if given.tls is not None else TlsFiles()
    proxy_url = http_proxies(given.proxy_url, os.environ).url_for(address_of(endpoint))
    return Target.of_url(endpoint, "the service directory", files, name, proxy_url)


def target_of_eps(given: models.JsonRpcClientSettings) -> Target:
    """A proxy's EPS server."""
    files = tls_files(given.tls) if given.tls is not None else TlsFiles()
    return Target.of_url(given.endpoint, EPS, files, files.server_name, given.proxy_url)


async def compare_clocks(settings: EpsSettings | SdSettings | ProxySettings) -> None:
    """Compare our clock, now and for words alone, with those that a start with these settings would ask."""
    match settings:
        case EpsSettings():
            targets = hours_of(settings)
        case ProxySettings():
            sections = (settings.public, settings.private)
            targets = [target_of_eps(one.jsonrpc_client) for one in sections if one is not None]
        case _:
            targets = []
    for reached in await asyncio.gather(*(reach(target, now, START_SECONDS) for target in targets)):
        if reached.ahead is not None:
            OWN_CLOCK.note(f"{reached.target.who} at {reached.target.address}", reached.ahead, verified=False)
