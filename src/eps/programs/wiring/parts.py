"""Settings as the lower layers take them: the parts that several programs have."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from eps.core.cache_seal import seal_key
from eps.core.event import Emit, Level, Notice
from eps.core.http_proxy import http_proxies
from eps.core.jsonrpc_text import Load
from eps.core.limits import MAX_MESSAGE_BYTES
from eps.datastores import Datastore
from eps.datastores.memory import MemoryDatastore
from eps.datastores.private import doubt_of_folder
from eps.datastores.sqlite import SqliteDatastore
from eps.directory.endpoints import ServiceDirectoryClients
from eps.errors import Side, Stage
from eps.jsonrpc.callee import Callee
from eps.jsonrpc.callers import Callers
from eps.jsonrpc.client import CONNECT_SECONDS, MAX_CONNECTIONS, ClientLimits, JsonRpcClient
from eps.jsonrpc.cors import Cors
from eps.jsonrpc.large_bodies import LargeBodies
from eps.jsonrpc.requests import Requests
from eps.jsonrpc.server import HTTP_ALPN, Handler, JsonRpcServer, ServerLimits, Serving
from eps.jsonrpc.spread import OF_SEVERAL_SECONDS
from eps.programs.running.metrics import Metrics, MetricsServer
from eps.programs.wiring.certificates import Finding, at_a_start, while_running
from eps.programs.wiring.composite import Composite
from eps.programs.wiring.credentials import content_digest, tls_files
from eps.reasons import Reason
from eps.settings import EpsSettings, Loaded, Prompt, ProxySettings, SdSettings, models
from eps.settings.problems import Problem, Severity
from eps.transport.listener import RateLimit
from eps.transport.sockets import Keepalive, keep_alive
from eps.transport.tls import TlsFiles, server_context

if TYPE_CHECKING:
    from eps.datastores.redis_link import RedisPlace

PRIVATE_HINT = "chmod 700 it, or name a folder that only this program's user has as state_path"

S = TypeVar("S", bound=EpsSettings | SdSettings | ProxySettings)

Loads = Callable[[Mapping[str, str], Path, Prompt | None], Loaded[S]]
"""``load_eps``, ``load_sd`` or ``load_proxy``."""


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def rate_limits(given: Sequence[models.RateLimitSettings]) -> tuple[RateLimit, ...]:
    """``tcp_rate_limits``."""
    return tuple(RateLimit(item.type, item.limit) for item in given)


@dataclass(frozen=True, slots=True)
class Reads:
    """How a program reads what is sent to its JSON-RPC server.

    Attributes:
        max_body: bytes of a request.
        load: reads the JSON; None: only what can travel inside the network.
        large: how large bodies are read; None: like all others.
    """

    max_body: int = MAX_MESSAGE_BYTES
    load: Load | None = None
    large: LargeBodies | None = None


def serving_of(given: models.JsonRpcServerSettings, callers: Callers, reads: Reads | None = None) -> Serving:
    """What a ``JsonRpcServer`` serves; what settings don't say of it, ``reads`` does."""
    cors = Cors(**dict(given.cors)) if given.cors is not None else Cors()
    reads, limits = reads or Reads(), rate_limits(given.tcp_rate_limits)
    tls = tls_files(given.tls, callers.operator) if given.tls is not None else None
    return Serving(
        Requests(given.path, cors, reads.load, reads.large),
        tls,
        callers,
        ServerLimits(limits, max_body=reads.max_body, max_calls=given.max_concurrent),
        content_digest(tls) if tls is not None else b"",
    )


def renewed_jsonrpc_server(
    server: JsonRpcServer, given: models.JsonRpcServerSettings, callers: Callers, reads: Reads | None = None
) -> Callable[[], None]:
    """Have a running server serve as other settings say; they are made ready here, and take effect with the result.

    Raises:
        StartError: as a start does.
    """
    serving = serving_of(given, callers, reads)
    serving.requests.cors.check()
    context = server_context(serving.tls, HTTP_ALPN) if serving.tls is not None else None
    return partial(server.renew, context, serving)


def jsonrpc_client(
    given: models.JsonRpcClientSettings,
    called: str,
    side: Side = Side.PEER,
    at_once: int | None = None,
    reasons: Mapping[Reason, Reason] | None = None,
    *,
    tells_hour: bool = False,
    one_of: str = "",
) -> JsonRpcClient:
    """A client as settings describe it. What goes wrong with it is told to callers anywhere, so the endpoint is kept
    for our own log.

    Args:
        at_once: calls for which it must have connections, where that is more than usual.
        reasons, tells_hour: see ``Callee``.
        one_of: the endpoint, where it is one of several that do the same.
    """
    return JsonRpcClient(
        one_of or given.endpoint,
        tls=tls_files(given.tls) if given.tls is not None else None,
        proxy_url=given.proxy_url,
        callee=Callee(called, side, tells_url=False, reasons=reasons, tells_hour=tells_hour),
        limits=ClientLimits(
            keep_alive=given.keep_alive,
            max_connections=max(at_once or 0, MAX_CONNECTIONS),
            connect=OF_SEVERAL_SECONDS if one_of else CONNECT_SECONDS,
        ),
    )


def directory_clients(given: models.ApiDirectorySettings) -> ServiceDirectoryClients:
    """Clients for the service directories that settings name."""
    tls = given.jsonrpc_client.tls
    return ServiceDirectoryClients(
        given.endpoints,
        given.server_names,
        tls=tls_files(tls) if tls is not None else None,
        proxies=http_proxies(given.jsonrpc_client.proxy_url, os.environ),
        max_answer=given.max_answer,
    )


async def open_datastore(
    given: models.Datastore, emit: Emit, *, shared: bool = False, continued: bool = False
) -> Datastore:
    """The datastore that settings name.

    Args:
        emit: told what is doubtful about it, now and later.
        shared: others may have it open too, as several public proxies have; a file never is.
        continued: others may continue a list on Redis, as several service directories do.

    Raises:
        StartError: it can't be opened.
    """
    match given:
        case models.SqliteDatastore():
            return await SqliteDatastore.open(given.settings.path, shared=shared)
        case models.FileDatastore():
            from eps.datastores.file import FileDatastore  # here, as below: who has another store needs none of it

            return await FileDatastore.open(given.settings.filename, emit=emit)
        case models.RedisDatastore():
            from eps.datastores.redis import RedisDatastore
            from eps.datastores.redis_shared import SharedRedisDatastore

            place, key = redis_place(given.settings), given.settings.key
            if continued:
                return await SharedRedisDatastore.open(place, key, shared=True, emit=emit)
            return await RedisDatastore.open(place, key, shared=shared, emit=emit)
        case models.MemoryDatastore():
            return MemoryDatastore()


def directory_cache(settings: EpsSettings) -> str:
    """Where an EPS server keeps its copy of the directory."""
    return str(Path(settings.state_path) / "directory-cache.sqlite")


def directory_seal_key(given: models.ApiDirectorySettings) -> bytes:
    """With what the directory's cache is sealed: from the private key with which we ask for it; empty without one."""
    tls = given.jsonrpc_client.tls
    if tls is None or tls.key_file is None:
        return b""
    try:
        return seal_key(Path(tls.key_file).read_bytes())
    except OSError:
        return b""  # who loads it says why


def redis_place(given: models.RedisSettings) -> "RedisPlace":
    """Where settings say that a Redis database is."""
    from eps.datastores.redis_link import RedisPlace

    return RedisPlace(
        given.addresses,
        master_name=given.master_name,
        database=given.database,
        username=given.username,
        password=given.password,
        sentinel_username=given.sentinel_username,
        sentinel_password=given.sentinel_password,
        tls=tls_files(given.tls) if given.tls is not None else None,
        replicas=given.wait_for_replicas,
    )


def use_keepalive(given: models.KeepaliveSettings) -> None:
    """Every socket of this program has these times."""
    keep_alive(Keepalive(given.idle, given.interval, given.count, given.unanswered or 0))


def add_metrics(server: Composite, given: models.MetricsSettings | None, metrics: Metrics, emit: Emit) -> None:
    """Serve the metrics, if the settings say where."""
    if given is not None:
        endpoint = MetricsServer(given.bind_address, metrics, emit)
        server.add(endpoint)
        server.listens("metrics", given.bind_address, lambda: endpoint.addresses[0][1])


def add_status(
    server: Composite, given: models.StatusSettings | None, metrics: Metrics, callers: Callers, emit: Emit
) -> None:
    """Serve the status page, if the settings say where.

    Args:
        callers: as at the JSON-RPC port; by default our own operator is who may see it.
    """
    if given is None:
        return
    from eps.programs.status.server import StatusServer  # here: most have none

    page = StatusServer(given.bind_address, metrics.standing, _seen_by(given, callers), callers, emit)
    server.add(page)
    server.page = page
    server.listens("status", given.bind_address, lambda: page.addresses[0][1])


def renewed_status(
    server: Composite, given: models.StatusSettings | None, callers: Callers
) -> list[Callable[[], object]]:
    """What has a running status page take its new settings over; nothing if there is none, or is to be none.

    Raises:
        StartError: a certificate can't be used.
    """
    if server.page is None or given is None:
        return []
    return [server.page.renewed(_seen_by(given, callers), callers)]


def _seen_by(given: models.StatusSettings, callers: Callers) -> TlsFiles | None:
    """The status page's certificate, and whose may see it."""
    if given.tls is None:
        return None
    tls = tls_files(given.tls)
    named = given.allowed_names if given.allowed_names is not None else tls.allowed_names
    own = (callers.operator,) if callers.operator is not None else ()
    return replace(tls, allowed_names=named if named is not None else own)


def add_jsonrpc_server(
    server: Composite, given: models.JsonRpcServerSettings, handle: Handler, serving: Serving, emit: Emit
) -> JsonRpcServer:
    """Serve ``handle`` where settings say."""
    rpc = JsonRpcServer("jsonrpc", given.bind_address, handle, serving=serving, emit=emit)
    server.add(rpc)
    server.listens("JSON-RPC", given.bind_address, lambda: rpc.port)
    return rpc


def settings_from(load: Loads[S], emit: Emit, prompt: Prompt | None = None) -> Loaded[S]:
    """A program's settings, from the files that its environment names; what is doubtful about them is logged.

    Args:
        load: ``load_eps``, ``load_sd`` or ``load_proxy``; raises SettingsError.
    """
    loaded = load(os.environ, Path.cwd(), prompt)
    warn_of(loaded.warnings, emit)
    _tell_of(at_a_start(loaded.settings, now()), emit)
    if doubt := doubt_of_folder(Path(loaded.settings.state_path)):
        emit(Notice(level=Level.WARN, text=doubt, hint=PRIVATE_HINT))
    return loaded


def warn_of(warnings: Iterable[Problem], emit: Emit) -> None:
    """What works in settings, but should not stay as it is."""
    for warning in warnings:
        emit(Notice(level=Level.WARN, text=str(warning)))


def tell_of_certificates(settings: EpsSettings | SdSettings | ProxySettings, emit: Emit) -> None:
    """What is wrong or doubtful with those that settings name, while the program runs: what has expired, too."""
    _tell_of(while_running(settings, now()), emit)


def _tell_of(findings: Iterable[Finding], emit: Emit) -> None:
    for finding in findings:
        emit(_noticed(finding))


def _noticed(finding: Finding) -> Notice:
    """What is wrong with a certificate, for the log: an error fails calls, a warning none yet."""
    is_wrong, reason = finding.severity is Severity.ERROR, finding.reason.value if finding.reason is not None else ""
    level, stage = (Level.ERROR, Stage.TLS.value) if is_wrong else (Level.WARN, "")
    text, hint = finding.text, finding.hint
    return Notice(level=level, text=text, hint=hint, reason=reason, stage=stage, side=Side.OURS.value)
