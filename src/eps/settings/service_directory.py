"""What can be set for a service directory: ``sd run``."""

from typing import Annotated, ClassVar

from pydantic import Field

from eps.core.defaults import MAX_SUBMISSION_BYTES
from eps.settings.fields import Bytes, ExistingFiles, Flag, FolderPath, Model
from eps.settings.parts import (
    Datastore,
    JsonRpcServerSettings,
    KeepaliveSettings,
    LogLevel,
    MetricsSettings,
    StatusSettings,
)


class SdJsonRpcServerSettings(JsonRpcServerSettings):
    """Where operators ask for records and submit them."""

    alive: ClassVar[frozenset[str] | None] = frozenset({"cors", "max_request_body", "path", "tcp_rate_limits", "tls"})

    max_request_body: Bytes = MAX_SUBMISSION_BYTES
    """Of one submission.

    A large network's records, submitted at once, are some tens of megabytes.
    """


class SdDirectorySettings(Model):
    alive: ClassVar[frozenset[str] | None] = frozenset(
        {"ca_certificate_files", "ca_intermediate_certificate_files", "foreign_peers", "require_pinned_signers"}
    )

    datastore: Datastore
    """Where the chain of records is kept."""

    ca_certificate_files: Annotated[ExistingFiles, Field(min_length=1)] = Field(examples=[["root.crt"]])
    """Roots of the certificates that sign change records."""

    ca_intermediate_certificate_files: ExistingFiles = ()
    """Authorities between those roots and the signers."""

    require_pinned_signers: Flag = False
    """Take and believe change records only if they are signed with a certificate that the directory pins.

    Until a pinned signer has signed, the root's signer counts, too. Without this, an administrator whom the directory
    pins no certificate of signs with any that the authority gave out.
    """

    foreign_peers: Flag = True
    """Whether servers of other makes follow this directory.

    Then records that those can't read are refused: one such record leaves them with no directory at all. Those are
    `parameters` of a method in another form than the protocol's, and a right that is named twice.
    """


class SdSettings(Model):
    """A service directory."""

    alive: ClassVar[frozenset[str] | None] = frozenset({"log_level"})

    jsonrpc_server: SdJsonRpcServerSettings
    """Where operators ask for records and submit them."""

    directory: SdDirectorySettings
    """The store, and whose signatures count."""

    metrics: MetricsSettings | None = None
    """Where Prometheus reads; without it there is no metrics endpoint."""

    status: StatusSettings | None = None
    """Where the status page is; without it there is none."""

    log_level: LogLevel | None = Field(default=None, examples=["debug"])
    """The least severe messages that a server logs, where its command line says none (`--level`). Default: `info`."""

    keepalive: KeepaliveSettings = KeepaliveSettings()
    """When the kernel gives up TCP connections on which nothing comes."""

    state_path: FolderPath = Field(examples=["/var/lib/sd"])
    """Folder for the store. Default: `$STATE_DIRECTORY` (systemd sets it), else `.eps/sd` in the working directory."""
