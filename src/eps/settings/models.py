"""What can be set, for all three programs (PROTOCOL.md section 6): frozen models with checked, complete values.

    EpsSettings    eps_server.py
    SdSettings     service_directory.py
    ProxySettings  proxies.py
    parts.py       what several of them share

Paths of files are absolute, sizes are bytes and times seconds. ``loader`` reads the files, ``validate`` makes these
models of them. The text under a field is its meaning in docs/reference-settings.md, up to the first empty line; what
follows says why, for those who change it. ``docs/generate.py`` reads it from the source: kept at run time, as pydantic
could, it would cost every start 20 ms.
"""

from eps.settings.eps_server import (
    ApiDirectory,
    ApiDirectorySettings,
    ApplicationSettings,
    AuditSettings,
    Channel,
    Channels,
    DirectorySettings,
    EpsSettings,
    GrpcClientChannel,
    GrpcClientSettings,
    GrpcServerChannel,
    GrpcServerSettings,
    JsonDirectory,
    JsonDirectorySettings,
    JsonRpcClientChannel,
    JsonRpcServerChannel,
    SiblingsSettings,
    SigningSettings,
    StdoutChannel,
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
    KeepaliveSettings,
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
    StatusSettings,
    TlsSettings,
    sqlite_by_default,
)
from eps.settings.proxies import InternalEndpointSettings, PrivateProxySettings, ProxySettings, PublicProxySettings
from eps.settings.service_directory import SdDirectorySettings, SdJsonRpcServerSettings, SdSettings

__all__ = [
    "ApiDirectory",
    "ApiDirectorySettings",
    "ApplicationSettings",
    "AuditSettings",
    "Channel",
    "Channels",
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
    "KeepaliveSettings",
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
    "SiblingsSettings",
    "SigningSettings",
    "SqliteDatastore",
    "SqliteSettings",
    "StatusSettings",
    "StdoutChannel",
    "TlsSettings",
    "sqlite_by_default",
]
