"""The committed trees, settings/dev and settings/test: what users script against (PROTOCOL.md section 1)."""

import json
from pathlib import Path
from typing import Any

import pytest

from eps.core.record import parse_change_record
from eps.settings import EpsSettings, ProxySettings, SdSettings, load_eps, load_proxy, load_sd
from eps.settings.loader import read_settings
from eps.settings.models import ApiDirectory, SqliteDatastore
from eps.settings.node import plain

ROOT = Path(__file__).parents[2]
TREES = ("dev", "test")

EPS_ROLES = {
    # role: operator, gRPC, JSON-RPC, metrics, JSON-RPC client
    "hd-1": ("hd-1", 8888, 5555, 2112, None),
    "hd-2": ("hd-2", 8889, 3334, 2113, None),
    "public-proxy-eps-1": ("public-proxy-1.ga", 5556, 5544, 2117, "https://localhost:6655/jsonrpc"),
    "private-proxy-eps-1": ("private-proxy-1.ga", 7776, 7766, 2118, "https://localhost:8877/jsonrpc"),
    "ls-1": ("ls-1", 4445, 5557, None, "http://localhost:6666/jsonrpc"),
    "op-1": ("op-1", 4444, 5555, None, None),
}

NAMES = [*{operator for operator, *_ in EPS_ROLES.values()}, "sd-1"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trees with empty files for certificates: what matters here is that the paths lead to them."""
    folder = tmp_path_factory.mktemp("root")
    for tree in TREES:
        certs = folder / "settings" / tree / "certs"
        certs.mkdir(parents=True)
        for name in ("root", "intermediate", *NAMES, *(f"{name}-sign" for name in NAMES)):
            (certs / f"{name}.crt").touch()
            (certs / f"{name}.key").touch()
    return folder


def place(tree: str, role: str) -> str:
    return f"settings/{tree}/roles/{role}"


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("role", EPS_ROLES)
def test_eps_roles(root: Path, tree: str, role: str) -> None:
    operator, grpc, local, metrics, client = EPS_ROLES[role]
    loaded = load_eps({"EPS_SETTINGS": str(_copied(root, tree, role))}, root)
    settings: EpsSettings = loaded.settings
    assert loaded.warnings == ()
    assert settings.name == operator
    assert settings.state_path == str(root / _state(tree, role))
    assert settings.grpc_server is not None
    assert settings.grpc_server.bind_address == f"localhost:{grpc}"
    assert settings.grpc_client is not None
    assert settings.jsonrpc_server is not None
    assert settings.jsonrpc_server.bind_address == f"localhost:{local}"
    assert settings.jsonrpc_server.tls is not None
    assert settings.jsonrpc_server.tls.allowed_names is not None
    assert operator in settings.jsonrpc_server.tls.allowed_names
    assert settings.jsonrpc_server.tls.verify_client
    assert (settings.metrics.bind_address if settings.metrics else None) == (
        f"localhost:{metrics}" if metrics else None
    )
    assert (settings.jsonrpc_client.endpoint if settings.jsonrpc_client else None) == client
    assert settings.signing is not None
    assert Path(settings.signing.certificate_file).name == f"{operator}-sign.crt"
    assert isinstance(settings.directory, ApiDirectory)
    assert settings.directory.settings.endpoints == ("https://localhost:3322/jsonrpc",)
    assert settings.directory.settings.server_names == ("sd-1",)
    for tls in (settings.grpc_server.tls, settings.grpc_client.tls, settings.jsonrpc_server.tls):
        assert Path(tls.certificate_file).name == f"{operator}.crt"


@pytest.mark.parametrize("tree", TREES)
def test_sd_role(root: Path, tree: str) -> None:
    loaded = load_sd({"SD_SETTINGS": str(_copied(root, tree, "sd-1"))}, root)
    settings: SdSettings = loaded.settings
    assert loaded.warnings == ()
    assert settings.jsonrpc_server.bind_address == "localhost:3322"
    assert isinstance(settings.directory.datastore, SqliteDatastore)
    assert settings.metrics is not None and settings.metrics.bind_address == "localhost:2114"
    assert settings.directory.datastore.settings.path == str(root / _state(tree, "sd-1") / "records.sqlite")


@pytest.mark.parametrize("tree", TREES)
def test_proxy_roles(root: Path, tree: str) -> None:
    loaded = load_proxy({"PROXY_SETTINGS": str(_copied(root, tree, "public-proxy-1"))}, root)
    settings: ProxySettings = loaded.settings
    assert loaded.warnings == ()
    assert settings.metrics is not None and settings.metrics.bind_address == "localhost:2115"
    public = settings.public
    assert public is not None
    assert public.name == "public-proxy-1.ga"
    assert (public.tls_bind_address, public.internal_bind_address) == ("localhost:4433", "localhost:9999")
    assert public.internal_endpoint == "localhost:9999"
    assert public.jsonrpc_server.bind_address == "localhost:6655"
    assert public.jsonrpc_client.endpoint == "https://localhost:5544/jsonrpc"
    loaded = load_proxy({"PROXY_SETTINGS": str(_copied(root, tree, "private-proxy-1"))}, root)
    assert loaded.warnings == ()
    assert loaded.settings.metrics is not None and loaded.settings.metrics.bind_address == "localhost:2116"
    private = loaded.settings.private
    assert private is not None
    assert private.name == "private-proxy-1.ga"
    assert private.jsonrpc_server.bind_address == "localhost:8877"
    assert private.internal_endpoint.address == "localhost:7777"
    assert private.internal_endpoint.tls is None


def _copied(root: Path, tree: str, role: str) -> Path:
    """A role's files beside the certificates of the fixture."""
    folder = root / "settings" / tree / "copies" / role
    folder.mkdir(parents=True, exist_ok=True)
    for file in (ROOT / place(tree, role)).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def _state(tree: str, role: str) -> str:
    return f".eps/{role}" if tree == "dev" else f".eps/test/{role}"


@pytest.mark.parametrize("tree", TREES)
def test_state_is_never_shared(tree: str) -> None:
    states = []
    for role in sorted((ROOT / "settings" / tree / "roles").iterdir()):
        settings, report = read_settings("X", {"X": str(role)}, ROOT)
        assert report.problems == []
        states.append(plain(settings)["state_path"])
    assert len(set(states)) == len(states) == 9


def _records(tree: str) -> list[dict[str, Any]]:
    records = json.loads((ROOT / "settings" / tree / "directory" / "001_base.json").read_text())["records"]
    assert isinstance(records, list)
    return records


@pytest.mark.parametrize("tree", TREES)
def test_directory(tree: str) -> None:
    records = _records(tree)
    for record in records:
        parse_change_record(record)
    sections = {(record["name"], record["section"]): record["data"] for record in records}
    assert len(sections) == len(records)

    def callers(name: str, method: str) -> list[str]:
        for service in sections[name, "services"]:
            for item in service["methods"]:
                if item["name"] == method:
                    return [permission["group"] for permission in service["permissions"] + item["permissions"]]
        raise AssertionError(f"{name} has no {method}")

    def server(name: str) -> Any:
        types = {channel["type"]: channel.get("settings") for channel in sections[name, "channels"]}
        assert "grpc_client" in types
        return types["grpc_server"]

    for name, port in (("hd-1", 8888), ("hd-2", 8889)):
        assert sections[name, "groups"] == ["health-departments"]
        assert server(name) == {"address": f"localhost:{port}", "proxy": "public-proxy-1.ga"}
        assert callers(name, "_connectionRequest") == ["proxy-providers"]
        assert callers(name, "_ping") == ["health-departments"]
    assert sections["public-proxy-1.ga", "groups"] == ["proxy-providers"]
    assert server("public-proxy-1.ga") == {"address": "localhost:5556"}
    assert callers("public-proxy-1.ga", "requestConnection") == ["health-departments"]
    assert callers("public-proxy-1.ga", "announceConnections") == ["proxy-users"]
    assert callers("public-proxy-1.ga", "getAnnouncements") == ["proxy-users"]
    assert sections["private-proxy-1.ga", "groups"] == ["proxy-users"]
    assert server("private-proxy-1.ga") == {"address": "localhost:7776"}
    assert callers("private-proxy-1.ga", "incomingConnection") == ["proxy-providers"]
    assert callers("private-proxy-1.ga", "announceConnection") == ["health-departments"]
    assert callers("private-proxy-1.ga", "getAnnouncements") == ["health-departments"]
    assert callers("private-proxy-1.ga", "_ping") == ["*"]
    assert callers("ls-1", "add") == callers("ls-1", "lookup") == ["health-departments", "location-services"]
    domains = {"allowed_domains": [".internal-server.local"]}
    for name, expected in (
        ("hd-1", domains),
        ("private-proxy-1.ga", domains),
        ("public-proxy-1.ga", {"internal_endpoints": ["localhost:9999"]}),
    ):
        (item,) = sections[name, "settings"]
        assert (item["service"], item["settings"]) == ("proxy", expected)


def test_the_trees_agree() -> None:
    assert _records("dev") == _records("test")
