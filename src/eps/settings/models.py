"""What can be set, for all three programs (PROTOCOL.md section 6): frozen models with checked, complete values.

    EpsSettings    eps server run, eps sd …, eps call
    SdSettings     sd run
    ProxySettings  proxy run public | private

Paths of files are absolute, sizes are bytes and times seconds. ``loader`` reads the files, ``validate`` makes these
models of them. Defaults stand here and nowhere else; those that PROTOCOL.md doesn't give say why.
"""

from collections.abc import Iterable
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from eps.settings.fields import (
    AsList,
    BindAddress,
    Bytes,
    Endpoint,
    ExistingFile,
    ExistingFiles,
    ExistingPath,
    Flag,
    FolderPath,
    Model,
    OperatorName,
    Seconds,
    Url,
    UrlPath,
    bad,
)
from eps.settings.parts import (
    CorsSettings,
    Datastore,
    EmptySettings,
    FileDatastore,
    FileSettings,
    JsonRpcClientOptions,
    JsonRpcClientSettings,
    JsonRpcServerSettings,
    MemoryDatastore,
    MetricsSettings,
    MutualTlsSettings,
    RateLimits,
    RateLimitSettings,
    RedisDatastore,
    RedisSettings,
    ServerTlsSettings,
    SqliteDatastore,
    SqliteSettings,
    TlsSettings,
    sqlite_by_default,
)

__all__ = [
    "ApiDirectory",
    "ApiDirectorySettings",
    "Channel",
    "CorsSettings",
    "Datastore",
    "DirectorySettings",
    "EmptySettings",
    "EpsSettings",
    "FileDatastore",
    "FileSettings",
    "GrpcClientChannel",
    "GrpcClientSettings",
    "GrpcServerChannel",
    "GrpcServerSettings",
    "InternalEndpointSettings",
    "JsonDirectory",
    "JsonDirectorySettings",
    "JsonRpcClientChannel",
    "JsonRpcClientOptions",
    "JsonRpcClientSettings",
    "JsonRpcServerChannel",
    "JsonRpcServerSettings",
    "MemoryDatastore",
    "MetricsSettings",
    "MutualTlsSettings",
    "PrivateProxySettings",
    "ProxySettings",
    "PublicProxySettings",
    "RateLimitSettings",
    "RateLimits",
    "RedisDatastore",
    "RedisSettings",
    "SdDirectorySettings",
    "SdJsonRpcServerSettings",
    "SdSettings",
    "ServerTlsSettings",
    "SigningSettings",
    "SqliteDatastore",
    "SqliteSettings",
    "StdoutChannel",
    "TlsSettings",
]

# --- EPS server ---


class ApiDirectorySettings(Model):
    """Follow a service directory.

    Attributes:
        server_names: TLS names of the endpoints, by position; "" or none for the host in the URL.
        cache_entries_for: seconds between two questions for news.
        max_answer: bytes; the whole chain comes in one answer, and a large network's has some hundred megabytes.
    """

    endpoints: Annotated[tuple[Url, ...], AsList, Field(min_length=1)]
    server_names: Annotated[tuple[str, ...], AsList] = ()
    jsonrpc_client: JsonRpcClientOptions = JsonRpcClientOptions()
    ca_certificate_files: Annotated[ExistingFiles, Field(min_length=1)]
    ca_intermediate_certificate_files: ExistingFiles = ()
    cache_entries_for: Seconds = 5.0
    max_answer: Bytes = 512 * 1024 * 1024

    @model_validator(mode="after")
    def _names(self) -> "ApiDirectorySettings":
        if len(self.server_names) > len(self.endpoints):
            raise bad("has more names than there are endpoints", "they belong together by position", ("server_names",))
        return self


class JsonDirectorySettings(Model):
    """``path`` is a file, or a folder of files, with unsigned records."""

    path: ExistingPath


class ApiDirectory(Model):
    type: Literal["api"]
    settings: ApiDirectorySettings


class JsonDirectory(Model):
    type: Literal["json"]
    settings: JsonDirectorySettings


DirectorySettings = Annotated[ApiDirectory | JsonDirectory, Field(discriminator="type")]


class GrpcServerSettings(Model):
    """Where other operators connect, directly or through a tunnel.

    Attributes:
        internal_endpoints: HOST:PORTs of relays that a proxy may send us to, besides those that the directory gives the
            proxy; None: no list of ours.
        proxy_url: an HTTP proxy for dialling relays; None: the environment variable HTTPS_PROXY tells.
    """

    bind_address: BindAddress = "localhost:4444"
    tls: MutualTlsSettings
    tcp_rate_limits: RateLimits = ()
    internal_endpoints: Annotated[tuple[Endpoint, ...], AsList] | None = None
    proxy_url: Url | None = None


class GrpcClientSettings(Model):
    """How other operators are called.

    Attributes:
        use_proxy: ``useProxy`` in files: reach operators behind a proxy through it.
        idle_timeout: seconds after which a kept connection without calls is closed; above the 60 s after which peers in
            use end theirs, so that ours are kept between calls that come every few minutes.
        proxy_url: an HTTP proxy for dialling operators and relays; None: the environment variable HTTPS_PROXY tells.
    """

    tls: MutualTlsSettings
    use_proxy: Flag = Field(default=True, alias="useProxy")
    idle_timeout: Seconds = 300.0
    proxy_url: Url | None = None


class GrpcServerChannel(Model):
    type: Literal["grpc_server"]
    name: str = "gRPC server"
    settings: GrpcServerSettings


class GrpcClientChannel(Model):
    type: Literal["grpc_client"]
    name: str = "gRPC client"
    settings: GrpcClientSettings


class JsonRpcServerChannel(Model):
    type: Literal["jsonrpc_server"]
    name: str = "JSON-RPC server"
    settings: JsonRpcServerSettings


class JsonRpcClientChannel(Model):
    type: Literal["jsonrpc_client"]
    name: str = "JSON-RPC client"
    settings: JsonRpcClientSettings


class StdoutChannel(Model):
    type: Literal["stdout"]
    name: str = "stdout"
    settings: EmptySettings = EmptySettings()


Channel = GrpcServerChannel | GrpcClientChannel | JsonRpcServerChannel | JsonRpcClientChannel | StdoutChannel

ChannelT = TypeVar("ChannelT", bound=Channel)


def _one_of_each(channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
    seen: set[str] = set()
    for index, channel in enumerate(channels):
        if channel.type in seen:
            hint = "a server has at most one channel of each type"
            raise bad(f"there is another {channel.type} channel before this one", hint, (index, "type"))
        seen.add(channel.type)
    return channels


Channels = Annotated[
    tuple[Annotated[Channel, Field(discriminator="type")], ...],
    AsList,
    AfterValidator(_one_of_each),
]


class SigningSettings(Model):
    """The key that signs change records, and what signatures are checked against on the command line."""

    certificate_file: ExistingFile
    key_file: ExistingFile
    ca_certificate_file: ExistingFile | None = None
    ca_intermediate_certificate_files: ExistingFiles = ()


class EpsSettings(Model):
    """An EPS server.

    Attributes:
        state_path: folder for what it keeps.
        call_timeout: seconds until a call without an answer is given up.
    """

    name: OperatorName
    directory: DirectorySettings
    channels: Channels = ()
    metrics: MetricsSettings | None = None
    signing: SigningSettings | None = None
    state_path: FolderPath
    call_timeout: Seconds = 30.0

    @property
    def grpc_server(self) -> GrpcServerSettings | None:
        return next((c.settings for c in _of_type(self.channels, GrpcServerChannel)), None)

    @property
    def grpc_client(self) -> GrpcClientSettings | None:
        return next((c.settings for c in _of_type(self.channels, GrpcClientChannel)), None)

    @property
    def jsonrpc_server(self) -> JsonRpcServerSettings | None:
        return next((c.settings for c in _of_type(self.channels, JsonRpcServerChannel)), None)

    @property
    def jsonrpc_client(self) -> JsonRpcClientSettings | None:
        return next((c.settings for c in _of_type(self.channels, JsonRpcClientChannel)), None)


def _of_type(channels: tuple[Channel, ...], kind: type[ChannelT]) -> Iterable[ChannelT]:
    return (channel for channel in channels if isinstance(channel, kind))


# --- Service directory ---


class SdJsonRpcServerSettings(JsonRpcServerSettings):
    """Where operators ask for records and submit them.

    Attributes:
        max_request_body: bytes; a large network's records, submitted at once, are some tens of megabytes.
    """

    max_request_body: Bytes = 64 * 1024 * 1024


class SdDirectorySettings(Model):
    datastore: Datastore
    ca_certificate_files: Annotated[ExistingFiles, Field(min_length=1)]
    ca_intermediate_certificate_files: ExistingFiles = ()


class SdSettings(Model):
    """A service directory."""

    jsonrpc_server: SdJsonRpcServerSettings
    directory: SdDirectorySettings
    metrics: MetricsSettings | None = None
    state_path: FolderPath


# --- Proxy ---


class PublicProxySettings(Model):
    """A proxy that operators behind firewalls are reached through.

    Attributes:
        internal_endpoint: what peers are told to dial.
        jsonrpc_client: the proxy's EPS server.
        accept_timeout: seconds that one half of a tunnel waits for the other.
        idle_timeout: seconds without a byte after which a tunnel is closed; kept connections ping every 30 s.
    """

    name: OperatorName
    datastore: Datastore = Field(default_factory=sqlite_by_default, validate_default=True)
    tls_bind_address: BindAddress = "localhost:443"
    internal_bind_address: BindAddress = "localhost:9999"
    internal_endpoint: Endpoint = "localhost:9999"
    jsonrpc_client: JsonRpcClientSettings
    jsonrpc_server: JsonRpcServerSettings
    tcp_rate_limits: RateLimits = ()
    accept_timeout: Seconds = 10.0
    idle_timeout: Seconds = 3600.0


class InternalEndpointSettings(Model):
    """Where the private proxy forwards: raw without ``tls``, else HTTP, or JSON-RPC if ``jsonrpc_client`` is given."""

    address: Endpoint = "localhost:8888"
    tls: ServerTlsSettings | None = None
    jsonrpc_client: JsonRpcClientSettings | None = None
    jsonrpc_path: UrlPath = "/jsonrpc"
    timeout: Seconds = 30.0


class PrivateProxySettings(Model):
    """The private proxy, through which TLS clients reach a server in our network.

    Attributes:
        internal_endpoint: where their connections are forwarded.
        jsonrpc_client: the proxy's EPS server.
        internal_endpoints: HOST:PORTs of relays that a public proxy may send us to, besides those that the directory
            gives it; None: no list of ours.
        proxy_url: an HTTP proxy for dialling relays; None: the environment variable HTTPS_PROXY tells.
        idle_timeout: seconds without a byte after which a forwarded connection is closed.
    """

    name: OperatorName
    datastore: Datastore = Field(default_factory=sqlite_by_default, validate_default=True)
    internal_endpoint: InternalEndpointSettings = InternalEndpointSettings()
    jsonrpc_client: JsonRpcClientSettings
    jsonrpc_server: JsonRpcServerSettings
    internal_endpoints: Annotated[tuple[Endpoint, ...], AsList] | None = None
    proxy_url: Url | None = None
    idle_timeout: Seconds = 3600.0


class ProxySettings(Model):
    """A proxy; ``public``, ``private`` or both are given, and ``proxy run`` names the one to run."""

    public: PublicProxySettings | None = None
    private: PrivateProxySettings | None = None
    metrics: MetricsSettings | None = None
    state_path: FolderPath

    @model_validator(mode="after")
    def _one_at_least(self) -> "ProxySettings":
        if self.public is None and self.private is None:
            raise bad("neither public nor private is given")
        return self
