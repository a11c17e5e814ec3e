"""What can be set for the proxies: ``proxy run public | private``."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from eps.core.defaults import ACCEPT_SECONDS, CALL_SECONDS, DRAIN_SECONDS, RELAY_IDLE_SECONDS
from eps.settings.fields import (
    AsList,
    BindAddress,
    Endpoint,
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
    Datastore,
    JsonRpcClientSettings,
    JsonRpcServerSettings,
    KeepaliveSettings,
    LogLevel,
    MetricsSettings,
    RateLimits,
    ServerTlsSettings,
    StatusSettings,
    sqlite_by_default,
)


class PublicProxySettings(Model):
    """A proxy that operators behind firewalls are reached through."""

    alive: ClassVar[frozenset[str] | None] = frozenset({"tcp_rate_limits"})

    name: OperatorName = Field(examples=["public-proxy-1.ga"])
    """Our operator's name."""

    datastore: Datastore = Field(default_factory=sqlite_by_default, validate_default=True)
    """Where announcements are kept (TLS passthrough)."""

    tls_bind_address: BindAddress = Field(default="localhost:443", examples=[":443"])
    """Where TLS clients connect (TLS passthrough)."""

    internal_bind_address: BindAddress = Field(default="localhost:9999", examples=[":9999"])
    """Where the relay listens for tunnels."""

    internal_endpoint: Endpoint = Field(default="localhost:9999", examples=["proxy.example.org:9999"])
    """The relay's address as operators are told to dial it."""

    jsonrpc_client: JsonRpcClientSettings
    """The proxy's EPS server, which calls operators for it."""

    jsonrpc_server: JsonRpcServerSettings
    """Where that EPS server hands on what operators ask of the proxy."""

    tcp_rate_limits: RateLimits = ()
    """New connections per source address, to the relay and to the TLS port each."""

    tell_durations: Flag = True
    """Tell operators who ask for a tunnel how long the parts of the proxy's work took, for `eps trace`."""

    accept_timeout: Seconds = ACCEPT_SECONDS
    """How long a token lives, and one half of a tunnel waits for the other."""

    idle_timeout: Seconds = RELAY_IDLE_SECONDS
    """A tunnel without a byte for so long is closed; kept connections ping every 30 s."""

    drain_timeout: Seconds = Field(default=DRAIN_SECONDS, examples=[60])
    """When the proxy is told to stop (SIGTERM, Ctrl-C), it takes no new connections and asks both sides of its tunnels
    to make others; what it has may end by itself within this time, TLS clients' connections, too."""


class InternalEndpointSettings(Model):
    """Where the private proxy forwards: raw without ``tls``, else HTTP, or JSON-RPC if ``jsonrpc_client`` is given."""

    address: Endpoint = Field(default="localhost:8888", examples=["localhost:7777"])
    """Where connections are forwarded."""

    tls: ServerTlsSettings | None = None
    """Given: TLS ends here, and HTTP requests are forwarded; else bytes are forwarded as they are."""

    jsonrpc_client: JsonRpcClientSettings | None = None
    """Given: JSON-RPC requests are forwarded to its endpoint."""

    jsonrpc_path: UrlPath = "/jsonrpc"
    """Where those are accepted."""

    timeout: Seconds = CALL_SECONDS
    """For an answer."""


class PrivateProxySettings(Model):
    """The private proxy, through which TLS clients reach a server in our network."""

    alive: ClassVar[frozenset[str] | None] = frozenset({"internal_endpoints", "proxy_url"})

    name: OperatorName = Field(examples=["private-proxy-1.ga"])
    """Our operator's name."""

    datastore: Datastore = Field(default_factory=sqlite_by_default, validate_default=True)
    """Where announcements are kept."""

    internal_endpoint: InternalEndpointSettings = InternalEndpointSettings()
    """What is behind the proxy."""

    jsonrpc_client: JsonRpcClientSettings
    """The proxy's EPS server, which calls operators for it."""

    jsonrpc_server: JsonRpcServerSettings
    """Where that EPS server hands on what operators ask of the proxy."""

    internal_endpoints: Annotated[tuple[Endpoint, ...], AsList] | None = Field(
        default=None, examples=[["10.0.0.7:9999"]]
    )
    """Relay endpoints that we dial for a public proxy, besides those that the directory lists for it.

    None: no list of ours.
    """

    proxy_url: Url | None = Field(default=None, examples=["http://proxy.example.org:3128"])
    """An HTTP proxy for dialling relays; default: `HTTPS_PROXY` and `NO_PROXY` of the environment."""

    idle_timeout: Seconds = RELAY_IDLE_SECONDS
    """A forwarded connection without a byte for so long is closed."""

    drain_timeout: Seconds = Field(default=DRAIN_SECONDS, examples=[60])
    """When the proxy is told to stop (SIGTERM, Ctrl-C), it takes no new connections, and those that it has may end by
    themselves within this time."""


class ProxySettings(Model):
    """A proxy; ``public``, ``private`` or both are given, and ``proxy run`` names the one to run."""

    alive: ClassVar[frozenset[str] | None] = frozenset({"log_level"})

    public: PublicProxySettings | None = None
    """For `proxy run public`."""

    private: PrivateProxySettings | None = None
    """For `proxy run private`."""

    metrics: MetricsSettings | None = None
    """Where Prometheus reads; without it there is no metrics endpoint."""

    status: StatusSettings | None = None
    """Where the status page is; without it there is none."""

    log_level: LogLevel | None = Field(default=None, examples=["debug"])
    """The least severe messages that a server logs, where its command line says none (`--level`). Default: `info`."""

    keepalive: KeepaliveSettings = KeepaliveSettings()
    """When the kernel gives up TCP connections on which nothing comes."""

    state_path: FolderPath = Field(examples=["/var/lib/proxy"])
    """Folder for the store. Default: `$STATE_DIRECTORY` (systemd sets it), else `.eps/NAME-proxy` in the working
    directory."""

    @model_validator(mode="after")
    def _one_at_least(self) -> "ProxySettings":
        if self.public is None and self.private is None:
            raise bad("neither public nor private is given")
        return self
