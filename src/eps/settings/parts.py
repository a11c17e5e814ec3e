"""Parts of settings that several programs share: TLS, JSON-RPC (PROTOCOL.md section 5), datastores, metrics.

``models`` puts them together, and gives their names on; programs read them from there.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from eps.core.defaults import (
    KEEPALIVE_COUNT,
    KEEPALIVE_IDLE,
    KEEPALIVE_INTERVAL,
    MAX_CALLS,
)
from eps.core.endpoint import is_this_machine, normal_host
from eps.core.host_port import parse_host_port
from eps.core.told_seconds import KEEP_ALIVE_SECONDS
from eps.settings.fields import (
    AsList,
    BindAddress,
    Count,
    Endpoint,
    ExistingFile,
    ExistingFiles,
    FingerprintText,
    Flag,
    KeptFile,
    Model,
    Origin,
    RegularExpression,
    Seconds,
    StateFile,
    Url,
    UrlPath,
    bad,
)

# --- TLS ---


class TlsSettings(Model):
    """TLS of a client, where even a certificate is optional. The fields are those of transport.tls.TlsFiles."""

    alive: ClassVar[frozenset[str] | None] = frozenset(
        {
            "allowed_fingerprints",
            "allowed_names",
            "ca_certificate_files",
            "certificate_file",
            "insecure_skip_verify",
            "key_file",
            "request_client_cert",
            "server_name",
            "verify_client",
        }
    )

    ca_certificate_files: ExistingFiles = Field(default=(), examples=[["root.crt"]])
    """Authorities of the other side's certificate."""

    certificate_file: ExistingFile | None = Field(default=None, examples=["hd-1.crt"])
    """Our certificate, then its intermediates (PEM)."""

    key_file: ExistingFile | None = Field(default=None, examples=["hd-1.key"])
    """Its key, without a passphrase (PEM)."""

    server_name: str | None = Field(default=None, examples=["sd-1"])
    """Clients: the name to ask for and to expect, instead of the endpoint's host."""

    verify_client: Flag = True
    """Servers: demand a client certificate from those authorities."""

    request_client_cert: Flag = False
    """Servers, with `verify_client: false`: check a certificate if one is shown."""

    insecure_skip_verify: Flag = False
    """Clients: don't check chain and name. Pins are always checked."""

    allowed_names: Annotated[tuple[str, ...], AsList] | None = Field(default=None, examples=[["demo-app"]])
    """JSON-RPC servers: names whose certificates may call, besides our operator's own. Missing: every certificate from
    those authorities may, and a warning says so."""

    allowed_fingerprints: Annotated[tuple[FingerprintText, ...], AsList] | None = Field(
        default=None, examples=[["905369dfb3c29ff3b312071514bd80be9c3bcb0924b76c4358b2e8b7d6fd0a9e"]]
    )
    """JSON-RPC servers: of the certificates that no name in the directory speaks for, only these (SHA-256) may call,
    and only with a name of `allowed_names`, if that lists any. `openssl x509 -in app.crt -noout -fingerprint -sha256`
    prints one. Missing: every certificate that carries such a name may."""

    @model_validator(mode="after")
    def _pair(self) -> "TlsSettings":
        if (self.certificate_file is None) != (self.key_file is None):
            missing = "key_file" if self.key_file is None else "certificate_file"
            raise bad(f"{missing} is missing", "a certificate and its key are given together")
        return self


class MutualTlsSettings(TlsSettings):
    """TLS between EPS servers: both sides have a certificate and check the other's (section 3)."""

    certificate_file: ExistingFile
    key_file: ExistingFile

    @model_validator(mode="after")
    def _authorities(self) -> "MutualTlsSettings":
        if not self.ca_certificate_files:
            raise bad("ca_certificate_files is missing or empty", "name the file with the network's root certificate")
        return self


class ServerTlsSettings(TlsSettings):
    """TLS of a JSON-RPC server."""

    certificate_file: ExistingFile
    key_file: ExistingFile

    @model_validator(mode="after")
    def _authorities(self) -> "ServerTlsSettings":
        if (self.verify_client or self.request_client_cert) and not self.ca_certificate_files:
            hint = "name the CA of the clients' certificates, or set verify_client: false to let anybody call"
            raise bad("ca_certificate_files is missing or empty", hint)
        return self


# --- JSON-RPC ---


class RateLimitSettings(Model):
    """At most ``limit`` new connections per source address in each calendar second, minute or hour (UTC)."""

    alive: ClassVar[frozenset[str] | None] = frozenset({"limit", "type"})

    type: Literal["second", "minute", "hour"] = Field(examples=["minute"])
    """The calendar window (UTC)."""

    limit: Count = Field(examples=[30])
    """New connections per source address in it; the ones beyond are closed on accept."""


RateLimits = Annotated[tuple[RateLimitSettings, ...], AsList]


class CorsSettings(Model):
    """Which web pages may call. ``allowed_hosts`` are regular expressions, searched in the Origin header."""

    alive: ClassVar[frozenset[str] | None] = frozenset(
        {"allowed_headers", "allowed_hosts", "allowed_methods", "allowed_origins"}
    )

    allowed_origins: Annotated[tuple[Origin, ...], AsList] = Field(default=(), examples=[["https://app.example.org"]])
    """Pages from exactly there may call: scheme, host and port, as browsers say them in `Origin`. They may send what a
    call needs, by POST, and nothing else."""

    allowed_hosts: Annotated[tuple[RegularExpression, ...], AsList] = Field(
        default=(), examples=[[r"^https://app\.example$"]]
    )
    """Searched in the `Origin` header; pages from there may call."""

    allowed_headers: Annotated[tuple[str, ...], AsList] = ()
    """Request headers that they may send; empty: all."""

    allowed_methods: Annotated[tuple[str, ...], AsList] = ()
    """HTTP methods that they are told; empty: the usual ones."""


class JsonRpcServerSettings(Model):
    """Where local applications, or the proxy's EPS server, call."""

    alive: ClassVar[frozenset[str] | None] = frozenset({"cors", "path", "tcp_rate_limits", "tls"})

    bind_address: BindAddress = Field(examples=["localhost:5555"])
    """Where to listen."""

    path: UrlPath = "/jsonrpc"
    """Where calls are posted to."""

    tls: ServerTlsSettings | None = None
    """Without it: plain HTTP, and whoever can connect may call."""

    cors: CorsSettings | None = None
    """Which web pages may call; without it: none."""

    tcp_rate_limits: RateLimits = ()
    """New connections per source address."""

    max_concurrent: Count = Field(default=MAX_CALLS, examples=[500])
    """Calls that run at once; further ones are refused as busy."""


class JsonRpcClientOptions(Model):
    """How to call a JSON-RPC server."""

    alive: ClassVar[frozenset[str] | None] = frozenset({"keep_alive", "local", "proxy_url", "tls"})

    tls: TlsSettings | None = None
    """Our certificate and the server's authorities; for `https` only."""

    proxy_url: Url | None = Field(default=None, examples=["http://proxy.example.org:3128"])
    """An HTTP proxy to go through."""

    local: Flag = False
    """Accepted in old files; changes nothing."""

    keep_alive: Seconds = KEEP_ALIVE_SECONDS
    """An unused connection is kept so long, if the server doesn't say how long it keeps its own.

    Short, because many HTTP servers close theirs after a few seconds and a POST is never repeated.
    """


class JsonRpcClientSettings(JsonRpcClientOptions):
    """A JSON-RPC server to call."""

    alive: ClassVar[frozenset[str] | None] = frozenset({"endpoint", "keep_alive", "local", "proxy_url", "tls"})

    endpoint: Url = Field(examples=["http://localhost:6666/jsonrpc"])
    """What to call."""


# --- Datastores ---


class SqliteSettings(Model):
    """``path`` is seen from ``state_path``."""

    path: StateFile = Field(default="store.sqlite", validate_default=True, examples=["records.sqlite"])
    """The database's file."""


class RedisSettings(Model):
    addresses: Annotated[tuple[Endpoint, ...], AsList, Field(min_length=1)] = Field(examples=[["localhost:6379"]])
    """Of the Redis server, or of the sentinels."""

    password: str = Field(repr=False, examples=["$REDIS_PASSWORD"])
    """May be empty, must be there; take it from the environment with `vars`."""

    username: str = ""
    """Of an ACL user, who needs `+select +role +time +llen +lindex +lrange +eval +rpush +del +ltrim +info +config|get`
    for that key; where several service directories share it, `+publish +subscribe` for the channel of its name, `&KEY`;
    for `wait_for_replicas`, `+wait`. Without `username`, the password is the default user's."""

    tls: TlsSettings | None = None
    """For the server and for sentinels; without it, plain TCP."""

    master_name: str = ""
    """Given: `addresses` are those of sentinels that watch this master. Otherwise the first address is taken that is
    no replica."""

    sentinel_username: str = ""
    """What the sentinels want, if they want anything."""

    sentinel_password: str = Field(default="", repr=False)
    """What the sentinels want, if they want anything."""

    database: Annotated[int, Field(strict=True, ge=0)] = 0
    """The database's number."""

    key: Annotated[str, Field(min_length=1)] = Field(default="entries", examples=["sd-1"])
    """The list that holds the entries. Several service directories may share one, and so may several public proxies."""

    wait_for_replicas: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    """How many replicas must have a change before it counts as stored; while fewer are connected, changes are refused.
    Without this, a failover can lose what was called stored a moment before. Others may see a change a moment before it
    counts."""


class FileSettings(Model):
    """The store of servers in use, where they have it: existing settings name it without a folder, too."""

    filename: KeptFile = Field(examples=["records.bin"])
    """The file, seen from the working directory; never shared by two programs."""


class EmptySettings(Model):
    """Nothing can be set."""


def _nothing() -> Any:
    return {}


class SqliteDatastore(Model):
    alive: ClassVar[frozenset[str] | None] = None

    type: Literal["sqlite"]
    settings: SqliteSettings = Field(default_factory=_nothing, validate_default=True)


class RedisDatastore(Model):
    alive: ClassVar[frozenset[str] | None] = None

    type: Literal["redis"]
    settings: RedisSettings


class FileDatastore(Model):
    alive: ClassVar[frozenset[str] | None] = None

    type: Literal["file"]
    settings: FileSettings


class MemoryDatastore(Model):
    """Forgets everything when the program ends: for tests."""

    alive: ClassVar[frozenset[str] | None] = None

    type: Literal["memory"]
    settings: EmptySettings = EmptySettings()


Datastore = Annotated[SqliteDatastore | RedisDatastore | FileDatastore | MemoryDatastore, Field(discriminator="type")]


def sqlite_by_default() -> Any:
    """The embedded store, where none is named. Not yet a model, so that its path is seen from ``state_path``."""
    return {"type": "sqlite"}


LogLevel = Literal["panic", "fatal", "error", "warn", "info", "debug", "trace"]


class KeepaliveSettings(Model):
    """When the kernel gives up TCP connections on which nothing comes: for all sockets of the program."""

    idle: Count = Field(default=KEEPALIVE_IDLE, examples=[30])
    """Seconds of silence after which it asks (TCP_KEEPIDLE). Below the time after which a firewall on the way forgets
    silent connections."""

    interval: Count = Field(default=KEEPALIVE_INTERVAL, examples=[10])
    """Seconds between two questions (TCP_KEEPINTVL)."""

    count: Count = Field(default=KEEPALIVE_COUNT, examples=[3])
    """Questions without an answer after which the connection is over (TCP_KEEPCNT)."""

    unanswered: Count | None = Field(default=None, examples=[60])
    """Seconds that sent bytes may stay without the other side's confirmation (TCP_USER_TIMEOUT). Missing, or less than
    that: as long as a silent connection has, `idle` + `interval` × `count`, since Linux would otherwise end a silent
    connection with the first packet that is lost."""

    @property
    def silence(self) -> int:
        """Seconds after which a silent connection is over."""
        return self.idle + self.interval * self.count


class StatusSettings(Model):
    """Where administrators see how the program is."""

    alive: ClassVar[frozenset[str] | None] = frozenset({"allowed_names"})

    bind_address: BindAddress = Field(examples=["localhost:2132"])
    """Where the status page is. Without `tls` on loopback only, for everybody on this machine."""

    tls: ServerTlsSettings | None = None
    """With it, elsewhere too; browsers show a certificate, which is pinned as at the JSON-RPC port."""

    allowed_names: Annotated[tuple[str, ...], AsList] | None = Field(default=None, examples=[["hd-1", "admin-1"]])
    """With `tls`: whose certificates may see it. Default: our own operator's; a service directory names them."""

    @model_validator(mode="after")
    def _nobody_else(self) -> "StatusSettings":
        if self.tls is None and not is_this_machine(normal_host(parse_host_port(self.bind_address)[0])):
            text = "without tls the status page is on loopback only: it says who calls whom"
            raise bad(text, "name localhost:PORT, or add tls", ("bind_address",))
        if self.tls is None and self.allowed_names is not None:
            raise bad("allowed_names needs tls: without certificates there are no names", "add tls, or leave it out")
        return self


class MetricsSettings(Model):
    """Where Prometheus reads."""

    bind_address: BindAddress = Field(examples=["localhost:2112"])
    """Where `GET /metrics` is answered, without TLS."""
