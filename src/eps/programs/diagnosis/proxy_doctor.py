"""``proxy doctor``: facts about a public or a private proxy, and what follows."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from eps.core.announcement import grpc_address, proxy_settings
from eps.core.endpoint import relay_trust
from eps.core.host_port import address_of, parse_host_port
from eps.core.message import Response
from eps.core.names import Object, Operator
from eps.errors import EpsError, Side
from eps.jsonrpc.client import JsonRpcClient
from eps.programs.admin.commands import client_of
from eps.programs.diagnosis import own_server
from eps.programs.diagnosis.clock import EPS, judge_clock, target_of_eps
from eps.programs.diagnosis.finding import Failure, Finding, Mark, unknown, well
from eps.programs.diagnosis.lately import Seen, ask_lately, judge_lately
from eps.programs.diagnosis.local import Local, judge_certificates, judge_modes, judge_settings
from eps.programs.diagnosis.own_server import Asked, judge_loop, judge_server
from eps.programs.diagnosis.ping import version_in
from eps.programs.diagnosis.probes import Reached, Target, reach
from eps.programs.diagnosis.way import RELAY
from eps.programs.wiring.parts import jsonrpc_client, now
from eps.reasons import Reason
from eps.settings import ProxySettings
from eps.settings.proxies import PrivateProxySettings, PublicProxySettings
from eps.transport.dial import resolve
from eps.transport.port_owner import owner_of

SECONDS = 5.0
"""For each question to our own programs, which are near."""

Section = PublicProxySettings | PrivateProxySettings


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """Of one of the two proxies that settings may describe.

    Attributes:
        kind: ``public`` or ``private``.
        port: why its own JSON-RPC port does not answer.
        eps: how far its EPS server was reached.
        eps_failure: why that does not answer.
        version: of it.
        entry: our entry in the directory, as our EPS server has it; None: it isn't known, empty: there is none.
        relay: how far what operators are told to dial was reached (public).
        relay_owner: what takes connections there while the proxy doesn't run: ``nginx (process 123)``; "" elsewhere.
        refusals: why the addresses of that may not be dialled by others; "" each where they may; none: it has none.
        behind: how far what is forwarded to was reached (private).
        lately: what the proxy has seen go wrong.
    """

    kind: str
    section: Section
    asked: Asked
    eps: Reached
    port: Failure | None = None
    eps_failure: Failure | None = None
    version: str = ""
    entry: Object | None = None
    relay: Reached | None = None
    refusals: Sequence[str] = field(default=())
    behind: Reached | None = None
    lately: tuple[Seen, ...] = ()
    relay_owner: str = ""


def judge(local: Local, facts: Sequence[ProxyFacts], at: datetime) -> list[Finding]:
    """Everything that follows ``at`` a time, in the order in which it is to be read. Pure."""
    found = [*judge_settings(local), *judge_modes(local), *judge_clock([one.eps for one in facts])]
    found += judge_certificates(local, at)
    for one in facts:
        port_of = f"JSON-RPC at {one.section.jsonrpc_server.bind_address}"
        found += judge_server(one.asked, f"proxy run {one.kind}", one.port, port_of, None)
    for one in facts:
        behind, own = one.section.jsonrpc_client.endpoint, one.section.jsonrpc_server.bind_address
        found += [*judge_loop(behind, own, EPS), _eps_server(one)]
    for one in facts:
        found += _relay(one) if one.kind == "public" else _behind(one)
    return found + judge_lately([seen for one in facts for seen in one.lately], found)


def _eps_server(facts: ProxyFacts) -> Finding:
    if facts.eps_failure is not None:
        lost = "ask for a tunnel" if facts.kind == "public" else "be called in"
        failure = facts.eps_failure
        is_directory = failure.side == "directory"  # which our EPS server, too, waits for
        how = "has no directory" if is_directory else "does not answer"
        what = f"{facts.section.name}'s EPS server {how}: nobody can {lost}"
        endpoint = facts.section.jsonrpc_client.endpoint
        fix = failure.hint or f"start it, or correct jsonrpc_client: is {endpoint} that of our EPS server?"
        return Finding(
            EPS, Mark.WRONG, what, failure.text, failure.side if is_directory else "ours", fix, failure.reason
        )
    return well(EPS, f"{facts.section.name} answers: version {facts.version or 'not told'}", facts.eps.times())


def _relay(facts: ProxyFacts) -> Iterator[Finding]:
    assert isinstance(facts.section, PublicProxySettings) and facts.relay is not None, "of a public one"
    endpoint = facts.section.internal_endpoint
    if facts.relay_owner:
        what = f"{endpoint}, which operators are told to dial, is taken by {facts.relay_owner}"
        fix = "stop it, or set another internal_bind_address"
        yield Finding(RELAY, Mark.WRONG, what, "the proxy does not run", "ours", fix, Reason.PORT_TAKEN)
    elif facts.relay.failure is None:
        yield well(RELAY, f"{endpoint}, which operators are told to dial, takes connections", facts.relay.times())
    else:
        fix = "check that the proxy runs, internal_bind_address, and the firewall before it"
        what = f"{endpoint}, which operators are told to dial, is not reached from here"
        yield Finding(RELAY, Mark.WRONG, what, facts.relay.failure.text, "ours", fix, Reason.RELAY_UNREACHABLE)
    if facts.entry is None:
        yield unknown(RELAY, "whether operators may dial it is not known: our EPS server does not tell our entry")
    elif not facts.refusals:
        yield unknown(RELAY, "whether operators may dial it is not known: its name leads to no address here")
    elif facts.refusals and all(facts.refusals):
        fix = f"have {endpoint} submitted under internal_endpoints in our directory settings for the service proxy"
        what = f"operators refuse to dial {endpoint}"
        yield Finding(
            RELAY, Mark.WRONG, what, "; ".join(dict.fromkeys(facts.refusals)), "ours", fix, Reason.RELAY_NOT_LISTED
        )
    else:
        yield well(RELAY, f"the directory lets operators dial {endpoint}")


def _behind(facts: ProxyFacts) -> Iterator[Finding]:
    assert facts.behind is not None, "a private one forwards to something"
    group, address = "internal server", facts.behind.target.address
    if facts.behind.failure is None:
        yield well(group, f"{address}, to which we forward, takes connections", facts.behind.times())
    else:
        fix = "start it, or check internal_endpoint"
        what = f"{address}, to which we forward, is not reached"
        yield Finding(group, Mark.WRONG, what, facts.behind.failure.text, "ours", fix, Reason.APPLICATION_DOWN)


# Gathering


async def gather(settings: ProxySettings) -> list[ProxyFacts]:
    """Look at each proxy that the settings describe; never raises but for cancellation."""
    sections: list[tuple[str, Section]] = []
    if settings.public is not None:
        sections.append(("public", settings.public))
    if settings.private is not None:
        sections.append(("private", settings.private))
    return list(await asyncio.gather(*(_one(kind, section, settings) for kind, section in sections)))


async def _one(kind: str, section: Section, settings: ProxySettings) -> ProxyFacts:
    folder, socket = Path(settings.state_path), f"{kind}-proxy.control"
    asked, lately, port, eps, (version, entry, failure), outside = await asyncio.gather(
        own_server.ask_status(folder, socket, section.jsonrpc_server.bind_address),
        ask_lately(folder, socket),
        own_server.ask_port(
            partial(client_of, section.jsonrpc_server, f"the proxy of {section.name}"), "_ping", SECONDS
        ),
        reach(target_of_eps(section.jsonrpc_client), now),
        _ask_eps(section),
        _outside(section),
    )
    if isinstance(section, PrivateProxySettings):
        return ProxyFacts(kind, section, asked, eps, port, failure, version, entry, behind=outside, lately=lately)
    refusals = await _refusals(section, entry) if entry is not None else ()
    facts = ProxyFacts(kind, section, asked, eps, port, failure, version, entry, outside, refusals, lately=lately)
    if asked.runs or asked.failure is not None or outside.failure is not None:
        return facts
    return replace(
        facts, relay_owner=await asyncio.to_thread(owner_of, parse_host_port(section.internal_bind_address)[1])
    )


async def _ask_eps(section: Section) -> tuple[str, Object | None, Failure | None]:
    """Its version, our entry, or why it does not answer."""
    try:
        client = jsonrpc_client(section.jsonrpc_client, f"the EPS server of {section.name}", Side.OURS)
        try:
            pinged = await client.call(f"{section.name}._ping", {}, timeout=SECONDS)
            if pinged.error is not None:
                return "", None, Failure.told(pinged.error)
            return version_in(pinged.result), await _entry(client, section), None
        finally:
            await client.close()
    except EpsError as error:
        return "", None, Failure.of(error)


async def _entry(client: JsonRpcClient, section: Section) -> Object | None:
    asked: Response = await client.call(f"{section.name}._directory", {"operator": section.name}, timeout=SECONDS)
    entries = asked.result.get("entries") if isinstance(asked.result, dict) else None
    return entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else None


async def _outside(section: Section) -> Reached:
    if isinstance(section, PublicProxySettings):
        return await reach(Target(section.internal_endpoint, "the relay"), now)
    behind = section.internal_endpoint
    address = address_of(behind.jsonrpc_client.endpoint) if behind.jsonrpc_client is not None else behind.address
    return await reach(Target(address, "the internal server"), now)


async def _refusals(section: PublicProxySettings, entry: Object) -> tuple[str, ...]:
    """Why operators would not dial each address of the relay; "" where they would (``core.endpoint``)."""
    host, port = parse_host_port(section.internal_endpoint)
    trust = relay_trust(proxy_settings(entry, Operator("")), (), grpc_address(entry))
    try:
        async with asyncio.timeout(SECONDS):
            found = await resolve(host, port)
    except OSError:
        return ()  # that it can't be reached is told
    return tuple(trust.judge(host, port, one.ip) or "" for one in found)
