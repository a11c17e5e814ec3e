"""A network of foreign servers for one test: certificates, a directory, and what the test asks for.

    with Network() as network:
        network.run(HD_2).hold_stream(PROXY)      # foreign hd-2 …
        network.run_proxy()                       # … the proxy with its EPS server …
        network.directory                         # … and everybody's entries, addresses filled in

An operator whose server is ours is not run here: :meth:`Network.publish` its address, and give ours the same entries
(``network.entries``) and certificates (``network.files``).
"""

import ssl
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from eps.pki import Authority, Issued
from support.foreign.directory import Directory
from support.foreign.eps import ForeignEps, Service, rpc_service
from support.foreign.habits import Habits, Tls
from support.foreign.messages import Object
from support.foreign.proxy import ForeignProxy
from support.foreign.rpc import ForeignRpcClient, ForeignRpcServer

HD_1, HD_2, PROXY, LS = "hd-1", "hd-2", "public-proxy-1.ga", "ls-1"

HEALTH, PROVIDERS, USERS = "health-departments", "proxy-providers", "proxy-users"

_GROUPS = {HD_1: [HEALTH], HD_2: [HEALTH], PROXY: [PROVIDERS], LS: []}

UNUSED_ADDRESS = "127.0.0.1:1"
"""An address is mandatory in an entry, also where nobody dials it."""


def _permission(group: str) -> list[Object]:
    return [{"group": group, "rights": ["call"]}]


def _method(name: str, group: str) -> Object:
    return {"name": name, "permissions": _permission(group), "parameters": []}


def _service(name: str, *methods: Object) -> Object:
    return {"name": name, "permissions": [], "methods": list(methods)}


_SERVICES: dict[str, list[Object]] = {
    PROXY: [_service("proxy", _method("requestConnection", HEALTH)), _service("base", _method("_ping", "*"))],
    LS: [_service("locations", _method("add", HEALTH), _method("lookup", HEALTH), _method("_ping", HEALTH))],
    **{
        name: [
            _service("proxy", _method("_connectionRequest", PROVIDERS)),
            _service("base", _method("_ping", HEALTH), _method("_directory", HEALTH), _method("echo", HEALTH)),
        ]
        for name in (HD_1, HD_2)
    },
}


class Network:
    """The development network's operators hd-1, hd-2 (behind the proxy), public-proxy-1.ga and ls-1 (dialled directly).

    Attributes:
        authority: its CA.
        directory: shared by all foreign servers of this network.
        servers: the foreign EPS servers that run, by name.
        proxy: the foreign public proxy, once :meth:`run_proxy` was called.
        relay_endpoints: what the proxy's directory settings list as ``internal_endpoints``.
        behind_proxy: operators whose entries name the proxy.
        extra_groups: more groups by operator.
        watchers: called after each :meth:`publish`.
    """

    def __init__(self) -> None:
        self.authority = Authority.create(fast=True)
        self.servers: dict[str, ForeignEps] = {}
        self.rpc_servers: dict[str, ForeignRpcServer] = {}
        self.proxy: ForeignProxy | None = None
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._issued: dict[str, Issued] = {}
        self._addresses: dict[str, str] = {}
        (self.folder / "root.crt").write_bytes(self.authority.root_pem)
        self.relay_endpoints: list[str] = []
        self.behind_proxy = {HD_1, HD_2}
        self.extra_groups: dict[str, list[str]] = {}
        self.directory = Directory()
        self.watchers: list[Callable[[], None]] = []
        self.publish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    # --- certificates

    def issued(self, name: str) -> Issued:
        """The operator's pinned TLS certificate."""
        if name not in self._issued:
            self._issued[name] = self.authority.issue_tls(name)
        return self._issued[name]

    def tls(self, name: str) -> Tls:
        issued = self.issued(name)
        return Tls(issued.cert_pem, issued.key_pem, self.authority.root_pem)

    def files(self, name: str) -> tuple[Path, Path, Path]:
        """Certificate, key and root as files."""
        if not (self.folder / f"{name}.crt").exists():
            self.issued(name).write(self.folder, name)
        return self.folder / f"{name}.crt", self.folder / f"{name}.key", self.folder / "root.crt"

    def context(self, name: str, *, server: bool = False) -> ssl.SSLContext:
        """TLS for HTTP: mutual, both sides trust the root."""
        certificate, key, root = self.files(name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(root)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    # --- directory

    def publish(self, **addresses: str) -> None:
        """Set gRPC addresses by operator (``publish(**{"hd-1": "127.0.0.1:7"})``) and give all the new entries."""
        self._addresses |= addresses
        self.directory.replace(self.entries)
        for watcher in self.watchers:
            watcher()

    @property
    def entries(self) -> list[Object]:
        return [self._entry(name) for name in _GROUPS]

    def _entry(self, name: str) -> Object:
        server = {"address": self._addresses.get(name, UNUSED_ADDRESS)}
        if name in self.behind_proxy:
            server["proxy"] = PROXY
        channels: list[Object] = [
            {"type": "grpc_client", "settings": None},
            {"type": "grpc_server", "settings": server},
        ]
        return {
            "name": name,
            "groups": [*_GROUPS[name], *self.extra_groups.get(name, [])],
            "channels": channels,
            "services": _SERVICES[name],
            "certificates": [{"fingerprint": self.issued(name).fingerprint, "key_usage": "encryption"}],
            "settings": self._settings(name),
            "preferences": [],
            "records": [],
            "properties": {"displayName": ""},
        }

    def _settings(self, name: str) -> list[Object]:
        if name != PROXY:
            return []
        told = {"internal_endpoints": self.relay_endpoints}
        return [{"operator": "", "service": "proxy", "environment": "", "settings": told}]

    def records(self) -> list[Object]:
        """The same as unsigned change records' (name, section, data), for a ``json`` directory or to be signed."""
        stamp = "2026-01-01T00:00:00Z"
        return [
            {"name": entry["name"], "section": section, "data": entry[section], "created_at": stamp}
            for entry in self.entries
            for section in ("groups", "channels", "services", "certificates", "settings")
        ]

    # --- servers

    def run(self, name: str, service: Service | None = None, **habits: Any) -> ForeignEps:
        """Run a foreign EPS server and publish its address. It holds no streams yet."""
        eps = ForeignEps(name, self.directory, self.tls(name), service=service, habits=Habits(**habits))
        self._stack.callback(eps.close)
        self.servers[name] = eps
        self.publish(**{name: eps.address})
        return eps

    def run_rpc(self, name: str, port: int = 0) -> ForeignRpcServer:
        """The JSON-RPC server of a foreign EPS server: local calls, over HTTPS."""
        server = ForeignRpcServer(self.servers[name].rpc_handler, self.context(name, server=True), port=port)
        self._stack.callback(server.close)
        self.rpc_servers[name] = server
        return server

    def rpc_client(self, endpoint: str, caller: str, server_name: str) -> ForeignRpcClient:
        context = self.context(caller) if endpoint.startswith("https") else None
        return ForeignRpcClient(endpoint, context, server_name)

    def run_proxy(self, *, eps_endpoint: str = "", port: int = 0, **timings: float) -> ForeignProxy:
        """The public proxy, with a foreign EPS server of its own unless ``eps_endpoint`` names the one to use."""
        if not eps_endpoint:
            self.run(PROXY)
            eps_endpoint = self.run_rpc(PROXY).endpoint
        eps_client = self.rpc_client(eps_endpoint, PROXY, PROXY)
        self.proxy = ForeignProxy(eps_client, self.context(PROXY, server=True), port=port, **timings)
        self._stack.callback(self.proxy.close)
        self.relay_endpoints = [self.proxy.relay.endpoint]
        self.publish()
        if PROXY in self.servers:
            self.servers[PROXY].service = rpc_service(self.rpc_client(self.proxy.rpc.endpoint, PROXY, PROXY))
        return self.proxy
