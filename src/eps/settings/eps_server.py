"""What can be set for an EPS server: ``eps server run``, ``eps sd …``, ``eps call``."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from eps.core.age import DAY
from eps.core.defaults import (
    CALL_SECONDS,
    DIRECTORY_SECONDS,
    DRAIN_SECONDS,
    MAX_ANSWER_BYTES,
    MAX_CALL_SECONDS,
    PATIENCE_SECONDS,
    TUNNEL_IDLE_SECONDS,
)
from eps.settings.fields import (
    AsList,
    BindAddress,
    Bytes,
    Count,
    Date,
    Endpoint,
    ExistingFile,
    ExistingFiles,
    ExistingPath,
    Flag,
    FolderPath,
    InstanceName,
    Model,
    OperatorName,
    Seconds,
    SecondsOrNone,
    StateFile,
    Url,
    bad,
)
from eps.settings.parts import (
    EmptySettings,
    JsonRpcClientOptions,
    JsonRpcClientSettings,
    JsonRpcServerSettings,
    KeepaliveSettings,
    LogLevel,
    MetricsSettings,
    MutualTlsSettings,
    RateLimits,
    RedisSettings,
    StatusSettings,
)


class ApiDirectorySettings(Model):
    """Follow a service directory."""

    alive: ClassVar[frozenset[str] | None] = frozenset(
        {
            "ca_certificate_files",
            "ca_intermediate_certificate_files",
            "endpoints",
            "max_answer",
            "require_canonical_signatures",
            "require_pinned_signers",
            "server_names",
        }
    )

    endpoints: Annotated[tuple[Url, ...], AsList, Field(min_length=1)] = Field(
        examples=[["https://sd.example.org:3322/jsonrpc"]]
    )
    """URLs of service directories; the next one is asked when one is silent or can't be believed."""

    server_names: Annotated[tuple[str, ...], AsList] = Field(default=(), examples=[["sd-1"]])
    """Names in the endpoints' certificates, by position; "" or none: the URL's host."""

    jsonrpc_client: JsonRpcClientOptions = JsonRpcClientOptions()
    """Our certificate for the service directory, an HTTP proxy."""

    ca_certificate_files: Annotated[ExistingFiles, Field(min_length=1)] = Field(examples=[["/etc/eps/root.crt"]])
    """Roots of the certificates that **sign** change records."""

    ca_intermediate_certificate_files: ExistingFiles = ()
    """Authorities between those roots and the signers."""

    require_pinned_signers: Flag = False
    """Believe change records only if they are signed with a certificate that the directory pins.

    Until a pinned signer has signed, the root's signer counts, too. Without this, an administrator whom the directory
    pins no certificate of signs with any that the authority gave out.
    """

    require_canonical_signatures: Date | None = Field(default=None, examples=["2027-01-01"])
    """Believe change records only with a canonical signature: from the first one that is dated on this day or later.

    From then on free-form values have one reading, too. Set a day from which on all administrators sign with
    `eps sd submit-records`, and all `endpoints` keep those signatures. All records behind that first one need them,
    whatever their date. A time of day may follow: `2027-01-01T12:00:00Z`.
    """

    cache_entries_for: Seconds = Field(default=DIRECTORY_SECONDS, examples=[30])
    """Between two questions for news."""

    maximum_age: Seconds = Field(default=DAY, examples=[604800])
    """When no service directory has confirmed the directory for so long, the log warns, daily.

    That notices one that can't be reached; not one that answers, and withholds what is new.
    """

    when_too_old: Literal["warn", "refuse"] = "warn"
    """`refuse`: an older directory is not used: nobody is trusted until a service directory confirms it."""

    max_answer: Bytes = MAX_ANSWER_BYTES
    """Of one answer of the service directory; the whole chain comes in one.

    20 MiB are 10,000 records. Of more than two million values none is read, whatever this is.
    """

    @model_validator(mode="after")
    def _names(self) -> "ApiDirectorySettings":
        if len(self.server_names) > len(self.endpoints):
            raise bad("has more names than there are endpoints", "they belong together by position", ("server_names",))
        return self


class JsonDirectorySettings(Model):
    """``path`` is a file, or a folder of files, with unsigned records."""

    path: ExistingPath = Field(examples=["records.json"])
    """Unsigned records; a folder's `.json` files are read in name order. For tests only."""


class ApiDirectory(Model):
    type: Literal["api"]
    settings: ApiDirectorySettings


class JsonDirectory(Model):
    type: Literal["json"]
    settings: JsonDirectorySettings


DirectorySettings = Annotated[ApiDirectory | JsonDirectory, Field(discriminator="type")]


class GrpcServerSettings(Model):
    """Where other operators connect, directly or through a tunnel."""

    alive: ClassVar[frozenset[str] | None] = frozenset({"internal_endpoints", "proxy_url", "tcp_rate_limits"})

    bind_address: BindAddress = Field(default="localhost:4444", examples=[":4444"])
    """Where other operators connect; `localhost` if everybody comes through a proxy."""

    tls: MutualTlsSettings
    """Our certificate, and the authorities of other operators' certificates."""

    tcp_rate_limits: RateLimits = ()
    """New connections per source address; tunnels don't count."""

    internal_endpoints: Annotated[tuple[Endpoint, ...], AsList] | None = Field(
        default=None, examples=[["10.0.0.7:9999"]]
    )
    """Relay endpoints that we dial when a proxy names them, besides those that the directory lists for it.

    None: no list of ours.
    """

    proxy_url: Url | None = Field(default=None, examples=["http://proxy.example.org:3128"])
    """An HTTP proxy for dialling relays; default: `HTTPS_PROXY` and `NO_PROXY` of the environment."""


class GrpcClientSettings(Model):
    """How other operators are called."""

    alive: ClassVar[frozenset[str] | None] = frozenset({"proxy_url", "use_proxy"})

    tls: MutualTlsSettings
    """Our certificate, and the authorities of other operators' certificates."""

    use_proxy: Flag = Field(default=True, alias="useProxy", examples=[False])
    """Reach operators that are behind a proxy through it."""

    idle_timeout: Seconds = TUNNEL_IDLE_SECONDS
    """A connection without a call for so long is closed.

    Above the 60 s after which peers in use end theirs, so that ours are kept between calls that come every few minutes.
    """

    proxy_url: Url | None = Field(default=None, examples=["http://proxy.example.org:3128"])
    """An HTTP proxy to dial others through; default: `HTTPS_PROXY` and `NO_PROXY` of the environment."""


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


class ApplicationSettings(JsonRpcClientSettings):
    """Our application, which others call."""

    alive: ClassVar[frozenset[str] | None] = (JsonRpcClientSettings.alive or frozenset()) | {"client_entry"}

    further_endpoints: Annotated[tuple[Url, ...], AsList] = Field(
        default=(), examples=[["https://proxy-2.example.org:6655/jsonrpc"]]
    )
    """Further endpoints that do the same, as other public proxies of ours. Calls go to the one with the fewest in
    flight; one that certainly has not run a call is passed over."""

    max_concurrent: Count | None = Field(default=None, examples=[32])
    """Calls that it gets at once; further ones wait for a moment, and are refused as busy then.

    Default: found out by itself, from how long calls take, between 8 and 512. A number: exactly that many.
    """

    client_entry: Literal["full", "short"] = Field(default="full", examples=["short"])
    """How much of a caller's directory entry stands in `params._client`: `full`, with the signed records that it was
    built from, some 10 kB; `short`, without them. Name, groups and services are in both."""


class JsonRpcClientChannel(Model):
    type: Literal["jsonrpc_client"]
    name: str = "JSON-RPC client"
    settings: ApplicationSettings


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

    alive: ClassVar[frozenset[str] | None] = frozenset(
        {"ca_certificate_file", "ca_intermediate_certificate_files", "certificate_file", "key_file"}
    )

    certificate_file: ExistingFile = Field(examples=["hd-1-sign.crt"])
    """Our signing certificate (ECDSA P-256, key usage digitalSignature)."""

    key_file: ExistingFile = Field(examples=["hd-1-sign.key"])
    """Its key; the PEM block must say `EC PRIVATE KEY`."""

    ca_certificate_file: ExistingFile | None = Field(default=None, examples=["root.crt"])
    """Root for `eps sd verify`."""

    ca_intermediate_certificate_files: ExistingFiles = Field(default=(), examples=[["intermediate.crt"]])
    """Authorities below it."""


class AuditSettings(Model):
    """One line for each call, chained and signed: evidence of who asked whom for what. No params, no results."""

    file: StateFile = Field(examples=["/var/log/eps/audit.log"])
    """The log, seen from `state_path`; made if it is missing. Moved away (log rotation), it goes on in a new file. What
    a process that is being replaced (`--take-over`) still answers goes into `FILE.PID`, as a log of its own."""

    secret_file: ExistingFile = Field(examples=["/etc/eps/audit.secret"])
    """32 random bytes in hex, which hide what calls say. `eps audit key` makes it; only the program's user may read
    it."""

    key_file: ExistingFile = Field(examples=["/etc/eps/audit.key"])
    """The key (ECDSA P-256) that signs the log's heads, each second. `eps audit key` makes it, too; likewise."""

    certified_file: ExistingFile | None = Field(default=None, examples=["/etc/eps/audit-key.signed.json"])
    """What `eps sd sign` has made of `audit-key.json`: it says that the key is our operator's. Evidence needs it."""

    when_failing: Literal["warn", "refuse"] = "warn"
    """While lines can't be written: `warn`: calls go on, and the log says how many have none. `refuse`: they are
    refused before they are sent, or begun."""


class SiblingsSettings(Model):
    """Other EPS servers of the same operator, which share a Redis with this one."""

    instance: InstanceName = Field(examples=["hd-1-a"])
    """This server's name among them; no other one's. Others see it."""

    address: Endpoint | None = Field(default=None, examples=["10.0.0.8:4444"])
    """Where the others reach this server's `grpc_server` channel. None: they pass nothing on to it."""

    redis: RedisSettings
    """The same for all. Kept there is who runs, and who holds which stream: a hash, `KEY:siblings:NAME`.

    An ACL user needs `+hget +hset +hdel` besides, for that key.
    """


class EpsSettings(Model):
    """An EPS server."""

    alive: ClassVar[frozenset[str] | None] = frozenset(
        {"call_timeout", "drain_timeout", "log_level", "max_call_timeout", "signing", "tell_durations"}
    )

    name: OperatorName = Field(examples=["hd-1"])
    """Our operator's name, as the directory and our certificates spell it."""

    directory: DirectorySettings
    """Where the directory comes from."""

    channels: Channels = ()
    """Ways in and out, in the order in which they are asked to deliver a call; one of each type."""

    metrics: MetricsSettings | None = None
    """Where Prometheus reads; without it there is no metrics endpoint."""

    status: StatusSettings | None = None
    """Where the status page is; without it there is none."""

    audit: AuditSettings | None = None
    """Where the audit log is; without it there is none."""

    log_level: LogLevel | None = Field(default=None, examples=["debug"])
    """The least severe messages that a server logs, where its command line says none (`--level`). Default: `info`."""

    siblings: SiblingsSettings | None = None
    """Given: this is one of several EPS servers of the operator. All of them have it."""

    keepalive: KeepaliveSettings = KeepaliveSettings()
    """When the kernel gives up TCP connections on which nothing comes."""

    signing: SigningSettings | None = None
    """Only for `eps sd submit-records`, `sign` and `verify`."""

    state_path: FolderPath = Field(examples=["/var/lib/eps"])
    """Folder for what the server keeps: the directory that it verified last. Default: `$STATE_DIRECTORY` (systemd sets
    it), else `.eps/NAME` in the working directory."""

    drain_timeout: Seconds = Field(default=DRAIN_SECONDS, examples=[30])
    """When the server is told to stop (SIGTERM, Ctrl-C), it takes no new calls, and those that run have this long to
    end and be answered."""

    patience: SecondsOrNone = Field(default=PATIENCE_SECONDS, examples=[0])
    """A call that was certainly not sent, since the peer, its proxy or our application can't be reached, is held and
    tried again so long, within `call_timeout`; 0: it fails at once. What will not change within seconds (no right, no
    such operator, too busy) is told at once. Nothing runs twice."""

    call_timeout: Seconds = Field(default=CALL_SECONDS, examples=[60])
    """A call that has no answer by then fails with an unknown outcome; its caller may give it another time (the HTTP
    field `EPS-Timeout`). Up to 5 s of it may pass in asking the service directory for news, if sender or recipient is
    not known yet."""

    max_call_timeout: Seconds = Field(default=MAX_CALL_SECONDS, examples=[300])
    """The longest time that a caller, of ours or of another operator, may give a call; who gives more gets this."""

    tell_durations: Flag = True
    """Tell other operators how long their calls took here, where they trace them (`traceparent`), for `eps trace`."""

    @model_validator(mode="after")
    def _among_siblings(self) -> "EpsSettings":
        if self.siblings is not None and self.grpc_client is None:
            raise bad("siblings needs a grpc_client channel", "it dials them, and holds the streams", ("siblings",))
        if self.siblings is not None and self.siblings.address is not None and self.grpc_server is None:
            text = "an address for siblings needs a grpc_server channel"
            raise bad(text, "add one, or leave the address out", ("siblings", "address"))
        return self

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
    def jsonrpc_client(self) -> ApplicationSettings | None:
        return next((c.settings for c in _of_type(self.channels, JsonRpcClientChannel)), None)


def _of_type(channels: tuple[Channel, ...], kind: type[ChannelT]) -> Iterable[ChannelT]:
    return (channel for channel in channels if isinstance(channel, kind))
