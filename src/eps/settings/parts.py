"""Parts of settings that several programs share: TLS, JSON-RPC (PROTOCOL.md section 5), datastores, metrics.

``models`` puts them together, and gives their names on; programs read them from there.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from eps.settings.fields import (
    AsList,
    BindAddress,
    Count,
    Endpoint,
    ExistingFile,
    ExistingFiles,
    Flag,
    Model,
    RegularExpression,
    Seconds,
    StateFile,
    Url,
    UrlPath,
    bad,
)

# --- TLS ---


class TlsSettings(Model):
    """TLS of a client, where even a certificate is optional. The fields are those of transport.tls.TlsFiles.

    Attributes:
        server_name: the name to ask for and to expect, instead of the endpoint's host.
        verify_client: a server demands a client certificate from those CAs.
        request_client_cert: a server asks for one, and takes clients without.
        insecure_skip_verify: a client does not check the chain (pinning stays).
        allowed_names: names whose certificates may call a JSON-RPC server besides its own operator's; None in old
            files, where every certificate from those CAs may (a warning says so).
    """

    ca_certificate_files: ExistingFiles = ()
    certificate_file: ExistingFile | None = None
    key_file: ExistingFile | None = None
    server_name: str | None = None
    verify_client: Flag = True
    request_client_cert: Flag = False
    insecure_skip_verify: Flag = False
    allowed_names: Annotated[tuple[str, ...], AsList] | None = None

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

    type: Literal["second", "minute", "hour"]
    limit: Count


RateLimits = Annotated[tuple[RateLimitSettings, ...], AsList]


class CorsSettings(Model):
    """Which web pages may call. ``allowed_hosts`` are regular expressions, searched in the Origin header."""

    allowed_hosts: Annotated[tuple[RegularExpression, ...], AsList] = ()
    allowed_headers: Annotated[tuple[str, ...], AsList] = ()
    allowed_methods: Annotated[tuple[str, ...], AsList] = ()


class JsonRpcServerSettings(Model):
    """Where local applications, or the proxy's EPS server, call."""

    bind_address: BindAddress
    path: UrlPath = "/jsonrpc"
    tls: ServerTlsSettings | None = None
    cors: CorsSettings | None = None
    tcp_rate_limits: RateLimits = ()


class JsonRpcClientOptions(Model):
    """How to call a JSON-RPC server.

    Attributes:
        proxy_url: an HTTP proxy to go through.
        local: given in existing files; the endpoint is on this machine.
        keep_alive: seconds after which an idle connection is not used again. Short, because many HTTP servers close
            theirs after a few seconds and a POST is never repeated.
    """

    tls: TlsSettings | None = None
    proxy_url: Url | None = None
    local: Flag = False
    keep_alive: Seconds = 1.5


class JsonRpcClientSettings(JsonRpcClientOptions):
    """A JSON-RPC server to call."""

    endpoint: Url


# --- Datastores ---


class SqliteSettings(Model):
    """``path`` is seen from ``state_path``."""

    path: StateFile = Field(default="store.sqlite", validate_default=True)


class RedisSettings(Model):
    addresses: Annotated[tuple[Endpoint, ...], AsList, Field(min_length=1)]
    password: str = Field(repr=False)
    master_name: str = ""
    database: Annotated[int, Field(strict=True, ge=0)] = 0
    key: Annotated[str, Field(min_length=1)] = "entries"


class FileSettings(Model):
    """``filename`` is seen from ``state_path``."""

    filename: StateFile


class EmptySettings(Model):
    """Nothing can be set."""


def _nothing() -> Any:
    return {}


class SqliteDatastore(Model):
    type: Literal["sqlite"]
    settings: SqliteSettings = Field(default_factory=_nothing, validate_default=True)


class RedisDatastore(Model):
    type: Literal["redis"]
    settings: RedisSettings


class FileDatastore(Model):
    type: Literal["file"]
    settings: FileSettings


class MemoryDatastore(Model):
    """Forgets everything when the program ends: for tests."""

    type: Literal["memory"]
    settings: EmptySettings = EmptySettings()


Datastore = Annotated[SqliteDatastore | RedisDatastore | FileDatastore | MemoryDatastore, Field(discriminator="type")]


def sqlite_by_default() -> Any:
    """The embedded store, where none is named. Not yet a model, so that its path is seen from ``state_path``."""
    return {"type": "sqlite"}


class MetricsSettings(Model):
    """Where Prometheus reads."""

    bind_address: BindAddress
