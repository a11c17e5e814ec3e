"""``eps doctor``: the facts are gathered side by side, each with a deadline, then judged, then shown.

settings ─▶ our copy of the directory ─┬─▶ service directories: time, tip, what is new
   │                                   ├─▶ proxies, relays, the peer    (by the copy: so all takes 14 s at most)
   └─▶ the running server, its port ───┘
"""

import asyncio
import os
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from eps.channels.grpc_client import Dialling
from eps.core.chain import Chain
from eps.core.entries import Directory
from eps.core.host_port import address_of
from eps.core.http_proxy import http_proxies
from eps.core.names import Operator
from eps.directory.endpoints import ServiceDirectoryClients
from eps.directory.json_files import JsonDirectory
from eps.errors import EpsError
from eps.programs.admin import commands as admin
from eps.programs.diagnosis import own_server, way
from eps.programs.diagnosis.clock import hours_of, judge_clock
from eps.programs.diagnosis.finding import Failure, Finding
from eps.programs.diagnosis.lately import Seen, ask_lately, judge_lately
from eps.programs.diagnosis.local import Local, judge_certificates, judge_modes, judge_settings
from eps.programs.diagnosis.others import Others
from eps.programs.diagnosis.own_server import Asked, judge_loop, judge_name, judge_server, judge_streams
from eps.programs.diagnosis.ping import Pinged, ping
from eps.programs.diagnosis.probes import Reached, Target, reach
from eps.programs.diagnosis.service_directory import (
    Answered,
    Followed,
    ask_endpoint,
    follow,
    judge_directory,
    judge_pins,
    own_copy,
)
from eps.programs.diagnosis.way import Taken
from eps.programs.wiring.credentials import directory_trust, own_fingerprints, tls_files
from eps.programs.wiring.eps import ALPN
from eps.programs.wiring.parts import directory_clients, now
from eps.reasons import Reason
from eps.settings import EpsSettings, models
from eps.transport.tls import client_context
from eps.transport.tunnel import RelaySettings

SD_SECONDS = 6.0
"""For all that is asked of the service directories."""

NOTHING = Followed(())

HEAD_START_SECONDS = 1.0
"""For what is timed, before other work begins beside it; on healthy ways it is over long before."""

OWN_SECONDS = 4.0
"""For our own server, which is near."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was gathered about an EPS server.

    Attributes:
        port: why its JSON-RPC port does not answer; None: it does.
        proxies: of each, how far it was reached, and what came of a call there.
        taken, served: of PEER, see ``way.judge_peer``.
        lately: what our server has seen go wrong.
    """

    settings: EpsSettings
    local: Local
    asked: Asked
    port: Failure | None = None
    application: Reached | None = None
    reached: tuple[Reached, ...] = ()
    followed: Followed = NOTHING
    proxies: tuple[tuple[Reached, Taken], ...] = ()
    relays: tuple[Reached, ...] = ()
    peer: str = ""
    taken: Taken | None = None
    served: Pinged | None = None
    lately: tuple[Seen, ...] = ()


def judge(facts: Facts, at: datetime) -> list[Finding]:
    """Everything that follows ``at`` a time, in the order in which it is to be read. Pure."""
    settings, directory, own = facts.settings, facts.followed.directory, facts.settings.name
    given = settings.directory
    found = [*judge_settings(facts.local), *judge_modes(facts.local), *judge_clock(facts.reached)]
    found += judge_certificates(facts.local, at)
    rpc = settings.jsonrpc_server
    port_of = f"JSON-RPC at {rpc.bind_address}" if rpc is not None else ""
    found += judge_name(facts.asked, own)
    found += judge_server(facts.asked, "eps server run", facts.port, port_of, facts.application)
    behind = settings.jsonrpc_client.endpoint if settings.jsonrpc_client is not None else ""
    found += judge_loop(behind, rpc.bind_address if rpc is not None else "", "our application")
    if isinstance(given, models.ApiDirectory):
        found += judge_directory(facts.followed, facts.reached, given.settings)
    found += judge_pins(directory, own, facts.local.certificates)
    fresh = facts.followed.fresh or not isinstance(given, models.ApiDirectory)
    tried = [(reached, way.as_known(taken, fresh=fresh)) for reached, taken in facts.proxies]
    proxies = tried if directory is not None and directory.entries else None
    found += [*way.judge_own_way(directory, own), *way.judge_proxies(proxies)]
    asked = [Operator(taken.operator) for _, taken in proxies] if proxies is not None else None
    found += way.judge_relays(asked, facts.relays)
    mine = directory.entry(own) if directory is not None else None
    behind_us = mine.proxies if mine is not None else ()
    found += judge_streams(facts.asked, _wanted_streams(settings, directory), behind_us)
    if facts.peer:
        taken = way.as_known(facts.taken, fresh=fresh) if facts.taken is not None else None
        found += way.judge_peer(directory, own, facts.peer, taken, facts.served)
    return found + judge_lately(facts.lately, found)


def _wanted_streams(settings: EpsSettings, directory: Directory | None) -> list[Operator] | None:
    if directory is None or not directory.entries:
        return None
    return directory.stream_targets(settings.name) if settings.grpc_client is not None else []


# Gathering


async def gather(settings: EpsSettings, local: Local, peer: str) -> Facts:
    """Look at everything; never raises but for cancellation. What is timed gets a head start, so that what takes this
    process's time, certificates say, doesn't count."""
    copy = await own_copy(settings)
    async with asyncio.TaskGroup() as tasks:
        probes = [tasks.create_task(reach(target, now)) for target in hours_of(settings)]
        directory = copy.directory if isinstance(copy, Chain) else None
        others = _others(settings, directory, peer)
        others.begin(tasks)
        await _head_start([*probes, *others.probes])
        near = tasks.create_task(_near(settings))
        lately = tasks.create_task(ask_lately(Path(settings.state_path), "eps.control"))
        following = tasks.create_task(_followed(settings, copy))
        if directory is None:
            directory = (await following).directory
            others = _others(settings, directory, peer)
            others.begin(tasks)
            await _head_start(others.probes)
        calls = others.call(tasks)
        await _head_start([near, following, *calls])
        asked, port, application = await near
        taken = tasks.create_task(others.take())
        is_unknown = directory is not None and directory.entry(peer) is None  # then that is told
        served = tasks.create_task(_served(settings, "" if port is not None or is_unknown else peer))
    return Facts(
        settings,
        local,
        asked,
        port,
        application,
        tuple(probe.result() for probe in probes),
        following.result(),
        tuple(zip(others.of_proxies(), (call.result() for call in calls), strict=True)),
        others.of_relays(),
        peer,
        taken.result(),
        served.result(),
        lately.result(),
    )


async def _head_start(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=HEAD_START_SECONDS)


async def _near(settings: EpsSettings) -> tuple[Asked, Failure | None, Reached | None]:
    bound = settings.jsonrpc_server.bind_address if settings.jsonrpc_server is not None else ""
    return await asyncio.gather(
        own_server.ask_status(Path(settings.state_path), "eps.control", bound), _port(settings), _application(settings)
    )


async def _port(settings: EpsSettings) -> Failure | None:
    """Why our server's JSON-RPC port does not answer."""
    if settings.jsonrpc_server is None:
        return None
    return await own_server.ask_port(partial(admin.own_server_client, settings), f"{settings.name}._ping", OWN_SECONDS)


async def _served(settings: EpsSettings, peer: str) -> Pinged | None:
    """What comes of a ping by our running server; None: ``peer`` is empty, or there is no port to ask at."""
    if not peer or settings.jsonrpc_server is None:
        return None
    try:
        client = admin.own_server_client(settings)
    except EpsError:
        return None
    try:
        return await ping(peer, "", 1, partial(client.call, f"{peer}._ping", {}, timeout=way.WAY_SECONDS))
    finally:
        await client.close()


async def _application(settings: EpsSettings) -> Reached | None:
    given = settings.jsonrpc_client
    if given is None or given.proxy_url:
        return None
    found: Reached | None = None
    for endpoint in (given.endpoint, *given.further_endpoints):
        found = await reach(Target(address_of(endpoint), "our application"), now)
        if found.failure is None:
            break  # calls go to those that are well
    return found


async def _followed(settings: EpsSettings, copy: Chain | Failure) -> Followed:
    given = settings.directory
    if not isinstance(given, models.ApiDirectory):
        return await _unsigned(given)
    directory = copy.directory if isinstance(copy, Chain) else None
    try:
        trust, clients = directory_trust(given.settings), directory_clients(given.settings)
    except EpsError as error:  # a file that can't be used
        failure = Failure.of(error)
        return Followed(tuple(Answered(url, failure=failure) for url in given.settings.endpoints), directory)
    try:
        answers = await asyncio.gather(*(_answer(clients, index) for index in range(len(clients.names))))
        return await _in_time(follow(settings, trust, clients, answers, copy), answers, copy)
    finally:
        await clients.close()


async def _unsigned(given: models.JsonDirectory) -> Followed:
    source = JsonDirectory(given.settings.path)
    try:
        await source.start()
    except EpsError as error:
        return Followed((), doubt=Failure.of(error))
    return Followed((), source.current)


async def _answer(clients: ServiceDirectoryClients, index: int) -> Answered:
    try:
        async with asyncio.timeout(SD_SECONDS):
            return await ask_endpoint(clients, index)
    except TimeoutError:
        text, fix = f"no answer within {SD_SECONDS:g} s", "check the endpoint and the firewalls"
        return Answered(clients.names[index], failure=Failure(text, fix, "directory", reason=Reason.SILENT))


async def _in_time(work: Awaitable[Followed], answers: Sequence[Answered], copy: Chain | Failure) -> Followed:
    try:
        async with asyncio.timeout(SD_SECONDS):
            return await work
    except TimeoutError:
        doubt = Failure(f"its records were not there within {SD_SECONDS:g} s", "try again", "directory")
        directory = copy.directory if isinstance(copy, Chain) else None
        return Followed(tuple(answers), directory, doubt=doubt)


def _others(settings: EpsSettings, directory: Directory | None, peer: str) -> Others:
    """Those whom our server would dial, as the settings say how."""
    given = settings.grpc_client
    if directory is None or given is None:
        return Others(Directory.empty(), Operator(settings.name), Operator(""), None)
    own, files = Operator(settings.name), tls_files(given.tls)
    try:
        context = client_context(files, ALPN)
    except EpsError:  # among the findings about certificates
        return Others(directory, own, Operator(""), None)
    ours = (settings.grpc_server.internal_endpoints or ()) if settings.grpc_server is not None else ()
    relays = RelaySettings(ours, http_proxies(given.proxy_url, os.environ))
    dialling = Dialling(relays, given.use_proxy)
    opened = way.channel_of(own, directory, context, dialling, own_fingerprints(given))
    return Others(directory, own, Operator(peer), opened, files, relays)
