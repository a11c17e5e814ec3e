"""What can be set: defaults, the errors for each kind of bad value, unknown keys and advice."""

import json
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from eps.errors import SettingsError
from eps.settings import PROGRAMS, Loaded, Severity, load_eps, load_proxy, load_sd, read_program
from eps.settings.models import (
    ApiDirectory,
    EpsSettings,
    FileDatastore,
    GrpcClientSettings,
    JsonDirectory,
    MemoryDatastore,
    RedisDatastore,
    SqliteDatastore,
    TlsSettings,
)

TLS = {"ca_certificate_files": ["root.crt"], "certificate_file": "a.crt", "key_file": "a.key"}

EPS: dict[str, Any] = {
    "name": "hd-1",
    "directory": {
        "type": "api",
        "settings": {"endpoints": ["https://localhost:3322/jsonrpc"], "ca_certificate_files": ["root.crt"]},
    },
    "channels": [
        {"name": "out", "type": "grpc_client", "settings": {"tls": TLS}},
        {"name": "in", "type": "grpc_server", "settings": {"tls": TLS}},
        {
            "name": "local",
            "type": "jsonrpc_server",
            "settings": {"bind_address": "localhost:5555", "tls": {**TLS, "allowed_names": ["hd-1"]}},
        },
        {"name": "app", "type": "jsonrpc_client", "settings": {"endpoint": "http://localhost:80/jsonrpc"}},
        {"name": "print", "type": "stdout", "settings": {}},
    ],
}

SD: dict[str, Any] = {
    "jsonrpc_server": {"bind_address": "localhost:3322", "tls": TLS},
    "directory": {"datastore": {"type": "memory"}, "ca_certificate_files": ["root.crt"]},
}

PROXY: dict[str, Any] = {
    "public": {
        "name": "p.ga",
        "jsonrpc_client": {"endpoint": "https://localhost:1/jsonrpc"},
        "jsonrpc_server": {"bind_address": "localhost:2"},
    },
    "private": {
        "name": "q.ga",
        "jsonrpc_client": {"endpoint": "https://localhost:3/jsonrpc"},
        "jsonrpc_server": {"bind_address": "localhost:4"},
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("root.crt", "a.crt", "a.key"):
        (tmp_path / name).write_text("")
    return tmp_path


def put(folder: Path, value: Any) -> None:
    (folder / "s.json").write_text(json.dumps(value, indent=1))


def eps(folder: Path, value: Any = None, **environment: str) -> Loaded[EpsSettings]:
    put(folder, EPS if value is None else value)
    return load_eps({"EPS_SETTINGS": "s.json", **environment}, folder)


def changed(base: dict[str, Any], change: Callable[[Any], object]) -> Any:
    value = deepcopy(base)
    change(value)
    return value


def report(program: str, folder: Path, value: Any) -> list[str]:
    """Problems, without the line."""
    put(folder, value)
    model = PROGRAMS[program].model
    variable = f"{program.upper()}_SETTINGS"
    reading = read_program(program, model, {variable: "s.json"}, folder)
    return [
        f"{problem.severity} {problem.path}: {problem.text}" + (f" ({problem.hint})" if problem.hint else "")
        for problem in reading.problems
    ]


# --- good settings ---


def test_eps(folder: Path) -> None:
    loaded = eps(folder)
    settings = loaded.settings
    assert loaded.warnings == ()
    assert read_program("eps", EpsSettings, {"EPS_SETTINGS": "s.json"}, folder).files == ("s.json",)
    assert settings.name == "hd-1"
    assert settings.state_path == f"{folder}/.eps/hd-1"
    assert (settings.call_timeout, settings.metrics, settings.signing) == (30.0, None, None)
    assert isinstance(settings.directory, ApiDirectory)
    directory = settings.directory.settings
    assert directory.cache_entries_for == 5.0
    assert directory.max_answer == 128 * 2**20
    assert directory.jsonrpc_client.keep_alive == 1.5
    assert [channel.type for channel in settings.channels] == [
        "grpc_client",
        "grpc_server",
        "jsonrpc_server",
        "jsonrpc_client",
        "stdout",
    ]
    assert settings.grpc_server is not None
    assert settings.grpc_server.bind_address == "localhost:4444"
    assert settings.grpc_server.internal_endpoints is None
    assert settings.grpc_server.tls.certificate_file == f"{folder}/a.crt"
    assert settings.grpc_server.tls.verify_client
    assert settings.grpc_client is not None
    assert settings.grpc_client.use_proxy
    assert settings.grpc_client.idle_timeout == 300.0
    assert settings.jsonrpc_server is not None
    assert settings.jsonrpc_server.path == "/jsonrpc"
    assert settings.jsonrpc_server.tls is not None
    assert settings.jsonrpc_server.tls.allowed_names == ("hd-1",)
    assert settings.jsonrpc_server.tls.allowed_fingerprints is None
    assert settings.jsonrpc_client is not None
    assert settings.jsonrpc_client.endpoint == "http://localhost:80/jsonrpc"


@pytest.mark.parametrize(
    ("given", "date"),
    [
        ("2027-01-01", "2027-01-01T00:00:00Z"),
        ("2027-01-01T12:30:00.50+02:00", "2027-01-01T12:30:00.5+02:00"),
        (None, None),
    ],
)
def test_a_date_is_a_day_or_a_point_in_time(folder: Path, given: str | None, date: str | None) -> None:
    directory = eps(folder, changed(EPS, _directory(require_canonical_signatures=given))).settings.directory
    assert isinstance(directory, ApiDirectory)
    assert directory.settings.require_canonical_signatures == date


def test_an_eps_without_channels(folder: Path) -> None:
    value = changed(EPS, lambda v: v.pop("channels"))
    value["directory"] = {"type": "json", "settings": {"path": "."}}
    settings = eps(folder, value).settings
    assert isinstance(settings.directory, JsonDirectory)
    assert settings.directory.settings.path == str(folder)
    assert settings.channels == ()
    found = (settings.grpc_server, settings.grpc_client, settings.jsonrpc_server, settings.jsonrpc_client)
    assert found == (None, None, None, None)


def test_everything_that_can_be_given(folder: Path) -> None:
    value = changed(EPS, lambda v: v)
    value |= {
        "metrics": {"bind_address": ":2112"},
        "signing": {
            "certificate_file": "a.crt",
            "key_file": "a.key",
            "ca_certificate_file": "root.crt",
            "ca_intermediate_certificate_files": ["root.crt"],
        },
        "state_path": "state",
        "call_timeout": 5,
    }
    client, server, local, app, _ = (channel["settings"] for channel in value["channels"])
    client |= {"useProxy": False, "idle_timeout": 2.5}
    server |= {
        "bind_address": "[::1]:0",
        "internal_endpoints": ["relay:9999"],
        "tcp_rate_limits": [{"type": "minute", "limit": 5}],
    }
    local |= {"path": "/x", "cors": {"allowed_hosts": ["^https://a$"], "allowed_headers": ["*"], "allowed_methods": []}}
    app |= {"proxy_url": "http://proxy:3128", "local": True, "tls": {"server_name": "app"}, "keep_alive": 0.5}
    loaded = eps(folder, value)
    settings = loaded.settings
    assert loaded.warnings == ()
    assert settings.state_path == f"{folder}/state"
    assert settings.call_timeout == 5.0
    assert settings.metrics is not None
    assert settings.metrics.bind_address == ":2112"
    assert settings.signing is not None
    assert settings.signing.ca_certificate_file == f"{folder}/root.crt"
    assert settings.grpc_client is not None
    assert not settings.grpc_client.use_proxy
    assert settings.grpc_server is not None
    assert settings.grpc_server.internal_endpoints == ("relay:9999",)
    assert settings.grpc_server.tcp_rate_limits[0].limit == 5
    assert settings.jsonrpc_server is not None
    assert settings.jsonrpc_server.cors is not None
    assert settings.jsonrpc_server.cors.allowed_hosts == ("^https://a$",)
    assert settings.jsonrpc_client is not None
    assert settings.jsonrpc_client.tls == TlsSettings(server_name="app")


def test_settings_cannot_be_changed(folder: Path) -> None:
    settings = eps(folder).settings
    with pytest.raises(ValidationError):
        settings.name = "x"
    hash(settings)


def test_models_can_be_made_directly() -> None:
    """Tests of other parts make them without files, by the attributes' names."""
    tls = {"ca_certificate_files": ["r"], "certificate_file": "c", "key_file": "k"}
    settings = GrpcClientSettings.model_validate({"tls": tls, "useProxy": False})
    assert not settings.use_proxy
    assert settings.tls.certificate_file == "c"
    assert JsonDirectory.model_validate({"type": "json", "settings": {"path": "p"}}).settings.path == "p"
    data = {**EPS, "state_path": "s"}
    assert EpsSettings.model_validate(data).state_path == "s"


@pytest.mark.parametrize(
    ("datastore", "kind", "field", "value"),
    [
        ({"type": "memory"}, MemoryDatastore, None, None),
        ({"type": "sqlite"}, SqliteDatastore, "path", "{folder}/.eps/sd/store.sqlite"),
        ({"type": "sqlite", "settings": {"path": "x.db"}}, SqliteDatastore, "path", "{folder}/.eps/sd/x.db"),
        ({"type": "sqlite", "settings": {"path": "/x/y.db"}}, SqliteDatastore, "path", "/x/y.db"),
        ({"type": "file", "settings": {"filename": "x"}}, FileDatastore, "filename", "{folder}/x"),
        ({"type": "file", "settings": {"filename": "/db/x"}}, FileDatastore, "filename", "/db/x"),
        (
            {"type": "redis", "settings": {"addresses": ["localhost:6379"], "password": ""}},
            RedisDatastore,
            "key",
            "entries",
        ),
    ],
)
def test_datastores(folder: Path, datastore: Any, kind: type, field: str | None, value: str) -> None:
    put(folder, changed(SD, lambda v: v["directory"].update(datastore=datastore)))
    settings = load_sd({"SD_SETTINGS": "s.json"}, folder).settings
    store = settings.directory.datastore
    assert isinstance(store, kind)
    if field is not None:
        assert getattr(store.settings, field) == value.format(folder=folder)
    assert settings.jsonrpc_server.max_request_body == 64 * 2**20
    assert load_sd({"SD_SETTINGS": "s.json"}, folder).warnings == ()


def test_a_password_is_not_shown(folder: Path) -> None:
    redis = {"type": "redis", "settings": {"addresses": ["localhost:6379"], "password": "hunter2"}}
    put(folder, changed(SD, lambda v: v["directory"].update(datastore=redis)))
    assert "hunter2" not in repr(load_sd({"SD_SETTINGS": "s.json"}, folder))


def test_proxy(folder: Path) -> None:
    put(folder, PROXY)
    settings = load_proxy({"PROXY_SETTINGS": "s.json"}, folder).settings
    public, private = settings.public, settings.private
    assert public is not None
    assert private is not None
    assert settings.state_path == f"{folder}/.eps/p.ga-proxy"
    assert isinstance(public.datastore, SqliteDatastore)
    assert public.datastore.settings.path == f"{folder}/.eps/p.ga-proxy/store.sqlite"
    assert (public.tls_bind_address, public.internal_bind_address) == ("localhost:443", "localhost:9999")
    assert public.internal_endpoint == "localhost:9999"
    assert (public.accept_timeout, public.idle_timeout) == (10.0, 3600.0)
    assert private.internal_endpoint.address == "localhost:8888"
    assert (private.internal_endpoint.jsonrpc_path, private.internal_endpoint.timeout) == ("/jsonrpc", 30.0)


# --- where state lies ---


@pytest.mark.parametrize(
    ("environment", "given", "path"),
    [
        ({}, None, "{folder}/.eps/hd-1"),
        ({"STATE_DIRECTORY": ""}, None, "{folder}/.eps/hd-1"),
        ({"STATE_DIRECTORY": "/var/lib/eps"}, None, "/var/lib/eps"),
        ({"STATE_DIRECTORY": "/var/lib/eps:/var/lib/more"}, None, "/var/lib/eps"),
        ({"STATE_DIRECTORY": "/var/lib/eps"}, "here", "{folder}/here"),
        ({}, "/there", "/there"),
    ],
)
def test_state_path(folder: Path, environment: dict[str, str], given: str | None, path: str) -> None:
    value = EPS if given is None else {**EPS, "state_path": given}
    assert eps(folder, value, **environment).settings.state_path == path.format(folder=folder)


@pytest.mark.parametrize(
    ("value", "path"),
    [(PROXY["public"], "p.ga-proxy"), (None, "q.ga-proxy")],
)
def test_state_path_of_a_proxy(folder: Path, value: Any, path: str) -> None:
    put(folder, {**PROXY, "public": value})
    settings = load_proxy({"PROXY_SETTINGS": "s.json"}, folder).settings
    assert settings.state_path == f"{folder}/.eps/{path}"


# --- bad settings ---

INNER = {"ca_certificate_files": ["root.crt"]}


def _channel(index: int, **settings: Any) -> Callable[[Any], object]:
    return lambda v: v["channels"][index]["settings"].update(settings)


def _tls(index: int, **tls: Any) -> Callable[[Any], object]:
    return lambda v: v["channels"][index]["settings"].update(
        tls={key: value for key, value in {**TLS, **tls}.items() if value != "absent"}
    )


def _directory(**settings: Any) -> Callable[[Any], object]:
    return lambda v: v["directory"]["settings"].update(settings)


QUOTES = "(put it in quotes)"
HOST_PORT = "must be HOST:PORT (as in localhost:8888 or [::1]:8888)"
URL = "must be a URL that begins with http:// or https:// (as in https://localhost:5555/jsonrpc)"
NO_FILE = "(paths are relative to the working directory; $DIR stands for the settings file's folder)"

BAD_EPS: list[tuple[Callable[[Any], object], str]] = [
    (
        _directory(require_canonical_signatures="next year"),
        "directory.settings.require_canonical_signatures: must be a date of the form 2026-11-22T10:44:19.5Z (RFC 3339) "
        "(a day, as in 2027-01-01, counts in UTC)",
    ),
    (
        _directory(require_canonical_signatures="2027-02-29"),
        "directory.settings.require_canonical_signatures: holds a day that does not exist "
        "(a day, as in 2027-01-01, counts in UTC)",
    ),
    (lambda v: v.pop("name"), "name: is missing"),
    (lambda v: v.update(name=5), f"name: must be text, not a whole number {QUOTES}"),
    (lambda v: v.update(name=True), f"name: must be text, not true or false {QUOTES}"),
    (lambda v: v.update(name=["a"]), "name: must be text, not a list"),
    (
        lambda v: v.update(name="a b"),
        "name: must be an operator's name (up to 253 characters without spaces, slashes and parentheses)",
    ),
    (
        lambda v: v.update(name=".."),
        "name: must be an operator's name (up to 253 characters without spaces, slashes and parentheses)",
    ),
    (lambda v: v.pop("directory"), "directory: is missing"),
    (lambda v: v.update(directory=5), "directory: must be a map, not a whole number"),
    (lambda v: v["directory"].pop("type"), "directory.type: is missing"),
    (
        lambda v: v["directory"].update(type="apy"),
        "directory.type: apy is not one of api, json (did you mean api?)",
    ),
    (lambda v: v["directory"].pop("settings"), "directory.settings: is missing"),
    (_directory(endpoints=[]), "directory.settings.endpoints: must not be empty"),
    (_directory(endpoints="https://a"), "directory.settings.endpoints: must be a list (write it as [a, b])"),
    (_directory(endpoints=["localhost:5"]), f"directory.settings.endpoints[0]: {URL}"),
    (_directory(endpoints=["https://"]), f"directory.settings.endpoints[0]: {URL}"),
    (_directory(endpoints=["https://a:x"]), f"directory.settings.endpoints[0]: {URL}"),
    (_directory(endpoints=["https://a:0"]), f"directory.settings.endpoints[0]: {URL}"),
    (_directory(endpoints=["https://[a"]), f"directory.settings.endpoints[0]: {URL}"),
    (
        _directory(server_names=["a", "b"]),
        "directory.settings.server_names: has more names than there are endpoints (they belong together by position)",
    ),
    (_directory(cache_entries_for=0), "directory.settings.cache_entries_for: must be greater than 0"),
    (_directory(cache_entries_for="5"), "directory.settings.cache_entries_for: must be a number, not text"),
    (_directory(cache_entries_for=True), "directory.settings.cache_entries_for: must be a number, not true or false"),
    (_directory(max_answer=1.5), "directory.settings.max_answer: must be a whole number, not a number"),
    (_directory(max_answer=-1), "directory.settings.max_answer: must be greater than 0"),
    (
        lambda v: v.update(directory={"type": "json", "settings": {"path": "none"}}),
        "directory.settings.path: no such file or folder: {folder}/none",
    ),
    (lambda v: v.update(channels={}), "channels: must be a list (write it as [a, b])"),
    (lambda v: v["channels"].append(5), "channels[5]: must be a map, not a whole number"),
    (lambda v: v["channels"].append({"name": "x"}), "channels[5].type: is missing"),
    (
        lambda v: v["channels"].append({"type": "grcp_server"}),
        "channels[5].type: grcp_server is not one of grpc_server, grpc_client, jsonrpc_server, jsonrpc_client, stdout "
        "(did you mean grpc_server?)",
    ),
    (
        lambda v: v["channels"].append({"type": ["a"]}),
        "channels[5].type: must be one of grpc_server, grpc_client, jsonrpc_server, jsonrpc_client, stdout",
    ),
    (
        lambda v: v["channels"].append({"type": "stdout"}),
        "channels[5].type: there is another stdout channel before this one "
        "(a server has at most one channel of each type)",
    ),
    (lambda v: v["channels"][0].pop("settings"), "channels[0].settings: is missing"),
    (_channel(0, tls=5), "channels[0].settings.tls: must be a map, not a whole number"),
    (_channel(0, useProxy="yes"), "channels[0].settings.useProxy: must be true or false, not text"),
    (_channel(1, bind_address="localhost"), f"channels[1].settings.bind_address: {HOST_PORT}"),
    (_channel(1, bind_address="localhost:99999"), f"channels[1].settings.bind_address: {HOST_PORT}"),
    (_channel(1, bind_address="a b:1"), f"channels[1].settings.bind_address: {HOST_PORT}"),
    (_channel(1, bind_address="a@b:80"), f"channels[1].settings.bind_address: {HOST_PORT}"),
    (
        _channel(1, internal_endpoints=[":1"]),
        "channels[1].settings.internal_endpoints[0]: names no host (as in localhost:8888)",
    ),
    (
        _channel(1, tcp_rate_limits=[{"type": "day", "limit": 1}]),
        "channels[1].settings.tcp_rate_limits[0].type: must be 'second', 'minute' or 'hour'",
    ),
    (
        _channel(1, tcp_rate_limits=[{"type": "hour", "limit": 0}]),
        "channels[1].settings.tcp_rate_limits[0].limit: must be greater than 0",
    ),
    (
        _tls(1, key_file="none.key"),
        "channels[1].settings.tls.key_file: no such file: {folder}/none.key " + NO_FILE,
    ),
    (_tls(1, key_file="."), "channels[1].settings.tls.key_file: is not a file: {folder}"),
    (_tls(1, key_file=""), "channels[1].settings.tls.key_file: must name a file"),
    (_tls(1, key_file="absent"), "channels[1].settings.tls.key_file: is missing"),
    (
        _tls(1, ca_certificate_files=[]),
        "channels[1].settings.tls: ca_certificate_files is missing or empty "
        "(name the file with the network's root certificate)",
    ),
    (
        _tls(1, ca_certificate_files=["root.crt", "../settings/dev/certs/x.crt"]),
        "channels[1].settings.tls.ca_certificate_files[1]: no such file: {parent}/settings/dev/certs/x.crt "
        "(make certs (or: eps dev certs) makes the development network's certificates)",
    ),
    (
        _tls(2, ca_certificate_files="absent", allowed_names=[]),
        "channels[2].settings.tls: ca_certificate_files is missing or empty "
        "(name the CA of the clients' certificates, or set verify_client: false to let anybody call)",
    ),
    (_channel(2, path="jsonrpc"), "channels[2].settings.path: must begin with a slash (as in /jsonrpc)"),
    (
        _channel(2, cors={"allowed_hosts": ["("]}),
        "channels[2].settings.cors.allowed_hosts[0]: is not a regular expression: "
        "missing ), unterminated subpattern at position 0",
    ),
    (lambda v: v["channels"][3]["settings"].pop("endpoint"), "channels[3].settings.endpoint: is missing"),
    (
        _channel(3, tls={"certificate_file": "a.crt"}),
        "channels[3].settings.tls: key_file is missing (a certificate and its key are given together)",
    ),
    (
        _channel(3, tls={"key_file": "a.key"}),
        "channels[3].settings.tls: certificate_file is missing (a certificate and its key are given together)",
    ),
    (lambda v: v.update(metrics={}), "metrics.bind_address: is missing"),
    (lambda v: v.update(state_path=""), "state_path: must not be empty"),
    (lambda v: v.update(call_timeout=None, name={}), "name: must be text, not a map"),
]


@pytest.mark.parametrize(("change", "problem"), BAD_EPS, ids=[text for _, text in BAD_EPS])
def test_bad_eps_settings(folder: Path, change: Callable[[Any], object], problem: str) -> None:
    expected = (
        problem.format(folder=folder, parent=folder.parent)
        if "{folder}" in problem or "{parent}" in problem
        else problem
    )
    assert report("eps", folder, changed(EPS, change)) == [f"error {expected}"]


@pytest.mark.parametrize(
    ("program", "value", "problems"),
    [
        ("sd", {}, ["error jsonrpc_server: is missing", "error directory: is missing"]),
        (
            "sd",
            changed(SD, lambda v: v["directory"].update(ca_certificate_files=[])),
            ["error directory.ca_certificate_files: must not be empty"],
        ),
        (
            "sd",
            changed(SD, lambda v: v["directory"].update(datastore={"type": "redis", "settings": {}})),
            [
                "error directory.datastore.settings.addresses: is missing",
                "error directory.datastore.settings.password: is missing",
            ],
        ),
        (
            "sd",
            changed(SD, lambda v: v["directory"].update(datastore={"type": "file"})),
            ["error directory.datastore.settings: is missing"],
        ),
        (
            "sd",
            changed(SD, lambda v: v["directory"].update(datastore={"type": "sqlight"})),
            [
                "error directory.datastore.type: sqlight is not one of sqlite, redis, file, memory "
                "(did you mean sqlite?)"
            ],
        ),
        ("proxy", {}, ["error : neither public nor private is given"]),
        (
            "proxy",
            {"public": {"name": "p"}},
            ["error public.jsonrpc_client: is missing", "error public.jsonrpc_server: is missing"],
        ),
    ],
)
def test_bad_settings_of_the_others(folder: Path, program: str, value: Any, problems: list[str]) -> None:
    assert report(program, folder, value) == problems


def test_endless_numbers(folder: Path) -> None:
    (folder / "s.yml").write_text(f"{json.dumps(EPS)[:-1]}, call_timeout: .inf}}")
    with pytest.raises(SettingsError) as info:
        load_eps({"EPS_SETTINGS": "s.yml"}, folder)
    assert info.value.message == "s.yml: call_timeout: must be a finite number (line 1)"


def test_an_unreadable_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("a.key"))
    assert report("eps", folder, changed(EPS, _tls(2, allowed_names=[])))[0] == (
        f"error channels[0].settings.tls.key_file: can't be read: {folder}/a.key (let the program's user read it)"
    )


def test_links_are_not_shortened_to_other_files(folder: Path) -> None:
    (folder / "far" / "deep").mkdir(parents=True)
    (folder / "far" / "x.key").write_text("")
    (folder / "link").symlink_to(folder / "far" / "deep")
    value = changed(EPS, _tls(1, key_file="link/../x.key"))
    settings = eps(folder, value).settings
    assert settings.grpc_server is not None
    assert settings.grpc_server.tls.key_file == f"{folder}/link/../x.key"


def test_a_missing_file_is_reported_once(folder: Path) -> None:
    (folder / "root.crt").unlink()
    found = report("eps", folder, EPS)
    assert [line.split(" (")[0] for line in found] == [
        f"error directory.settings.ca_certificate_files[0]: no such file: {folder}/root.crt"
    ]


def test_all_problems_are_raised_together(folder: Path) -> None:
    value = changed(EPS, _tls(1, key_file="none.key"))
    value["chanels"] = value["channels"]
    value["call_timeout"] = "$NOPE"
    value["name"] = 5
    with pytest.raises(SettingsError) as info:
        eps(folder, value)
    lines = info.value.message.splitlines()
    assert lines[0] == "3 problems in the settings:"
    assert [line.split(" (")[0] for line in lines[1:]] == [
        "  s.json: call_timeout: $NOPE is not defined",
        "  s.json: name: must be text, not a whole number",
        f"  s.json: channels[1].settings.tls.key_file: no such file: {folder}/none.key",
    ]
    assert "(line 2; put it in quotes)" in lines[2]


def test_nothing_is_said_of_what_depends_on_a_broken_value(folder: Path) -> None:
    value = changed(EPS, lambda v: v["directory"].update(settings="$NOPE"))
    value["channels"][1]["settings"]["tls"] = "$NOPE"
    found = report("eps", folder, value)
    assert [line.split(" (")[0] for line in found] == [
        "error directory.settings: $NOPE is not defined",
        "error channels[1].settings.tls: $NOPE is not defined",
    ]


def test_a_lost_file_hides_the_holes_it_leaves(folder: Path) -> None:
    put(folder, {})
    with pytest.raises(SettingsError) as info:
        load_eps({"EPS_SETTINGS": "s.json:none.yml"}, folder)
    assert info.value.message.startswith("none.yml: no such file or folder")


# --- warnings ---


@pytest.mark.parametrize(
    ("program", "value", "warning"),
    [
        ("eps", {**EPS, "chanels": 1}, "chanels: unknown key, ignored (did you mean channels?)"),
        ("eps", {**EPS, "xyz": {"a": 1}}, None),
        (
            "eps",
            changed(EPS, _tls(1, key_fil="x")),
            "channels[1].settings.tls.key_fil: unknown key, ignored (did you mean key_file?)",
        ),
        (
            "eps",
            changed(EPS, _channel(0, use_proxy=True)),
            "channels[0].settings.use_proxy: unknown key, ignored (did you mean useProxy?)",
        ),
        (
            "eps",
            changed(EPS, _channel(4, loud=True)),
            "channels[4].settings.loud: unknown key, ignored (nothing may be set here)",
        ),
        (
            "eps",
            changed(EPS, _directory(endpoint="x")),
            "directory.settings.endpoint: unknown key, ignored (did you mean endpoints?)",
        ),
        (
            "eps",
            changed(EPS, _channel(1, tcp_rate_limits=[{"type": "hour", "limit": 1, "limits": 2}])),
            "channels[1].settings.tcp_rate_limits[0].limits: unknown key, ignored (did you mean limit?)",
        ),
        (
            "eps",
            changed(EPS, _tls(2, allowed_names=None)),
            "channels[2].settings.tls: allowed_names is missing: every certificate from ca_certificate_files may call "
            "(list the names of the applications that may, or [] for this operator's alone)",
        ),
        (
            "eps",
            changed(EPS, _channel(2, tls=None, bind_address=":5555")),
            "channels[2].settings.bind_address: anybody who can connect may call, in the name of this operator "
            "(give it tls, or bind it to localhost)",
        ),
        (
            "eps",
            changed(EPS, _channel(3, tls={"insecure_skip_verify": True})),
            "channels[3].settings.tls.insecure_skip_verify: certificates are not checked against a CA "
            "(set it to false, and name the CA in ca_certificate_files)",
        ),
        (
            "proxy",
            changed(PROXY, lambda v: v["public"].update(tls_bind_adress="x:1")),
            "public.tls_bind_adress: unknown key, ignored (did you mean tls_bind_address?)",
        ),
        (
            "sd",
            changed(SD, lambda v: v["directory"]["datastore"].update(x=None, settings={"path": "x"})),
            "directory.datastore.settings.path: unknown key, ignored (nothing may be set here)",
        ),
    ],
)
def test_warnings(folder: Path, program: str, value: Any, warning: str | None) -> None:
    found = report(program, folder, value)
    if warning is None:
        assert len(found) == 1
        assert found[0].startswith("warning xyz: unknown key, ignored (")
    else:
        assert found == [f"warning {warning}"]


KEEPALIVES = [
    ({"unanswered": 20}, 35),
    ({"idle": 60, "interval": 15, "count": 4, "unanswered": 20}, 120),
    ({"idle": 60, "unanswered": 60}, 80),
    ({"count": 10, "unanswered": 60}, 65),
]
"""Settings that were documented when `unanswered` was 20 s unless set, and what is used of them now."""


@pytest.mark.parametrize(("program", "base"), [("eps", EPS), ("sd", SD), ("proxy", PROXY)], ids=["eps", "sd", "proxy"])
@pytest.mark.parametrize(("keepalive", "used"), KEEPALIVES, ids=[f"to-{used}" for _, used in KEEPALIVES])
def test_a_former_keepalive_is_read_and_warned_about(
    folder: Path, program: str, base: Any, keepalive: dict[str, int], used: int
) -> None:
    assert report(program, folder, {**base, "keepalive": keepalive}) == [
        f"warning keepalive.unanswered: is {keepalive['unanswered']} s; used are {used} s (idle + interval × count), "
        "since Linux would otherwise end a silent connection with the first lost packet (leave it out)"
    ]


@pytest.mark.parametrize("keepalive", [{"unanswered": 35}, {"idle": 60, "interval": 15}, {"idle": 5, "unanswered": 25}])
def test_other_keepalives_are_fine(folder: Path, keepalive: dict[str, int]) -> None:
    assert report("eps", folder, {**EPS, "keepalive": keepalive}) == []


@pytest.mark.parametrize("address", ["127.0.0.1:5555", "localhost:5555", "[::1]:5555", "127.0.0.2:5555"])
def test_unencrypted_on_this_machine_is_fine(folder: Path, address: str) -> None:
    assert report("eps", folder, changed(EPS, _channel(2, tls=None, bind_address=address))) == []


def test_a_link_local_address_names_its_interface(folder: Path) -> None:
    assert report("eps", folder, changed(EPS, _channel(1, bind_address="[fe80::1%eth0]:80"))) == []


def test_warnings_come_with_the_settings(folder: Path) -> None:
    loaded = eps(folder, {**EPS, "chanels": 1})
    assert [problem.severity for problem in loaded.warnings] == [Severity.WARNING]
    assert loaded.settings.name == "hd-1"


@pytest.mark.parametrize("channel", [{"type": "nonsense", "x": 1}, {"x": 1}, 5])
def test_unknown_keys_of_unknown_things_are_not_reported(folder: Path, channel: Any) -> None:
    value = changed(EPS, lambda v: v["channels"].append(channel))
    assert all(line.startswith("error") for line in report("eps", folder, value))


def test_lists_where_maps_belong(folder: Path) -> None:
    assert report("eps", folder, {**EPS, "metrics": [{"x": 1}]}) == ["error metrics: must be a map, not a list"]


# --- values of variables ---

SECRET = "pa55-w0rd"
VARS = {
    "S": {"source": "env", "variable": "S", "type": "string"},
    "N": {"source": "literal", "type": "any", "value": 7},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_tls(2, certificate_file="$S.crt"), "no such file: $S.crt"),
        (_tls(2, certificate_file="$DIR/$S.crt"), "no such file: $DIR/$S.crt"),
        (_tls(2, ca_certificate_files=["$S"]), "no such file: $S"),
        (_channel(2, cors={"allowed_hosts": ["(?$S"]}), "is not a regular expression: (?$S"),
        (_channel(2, bind_address="$S"), "must be HOST:PORT"),
        (_channel(3, endpoint="$S"), "must be a URL"),
        (_channel(2, tcp_rate_limits=[{"type": "$S", "limit": 1}]), "must be 'second'"),
        (_channel(2, path="$S"), "must begin with a slash"),
        (_channel(3, keep_alive="$S"), "must be a number, not text"),
        (_channel(2, tcp_rate_limits=[{"type": "hour", "limit": "$S"}]), "must be"),
        (_directory(endpoints=["$S"]), "must be a URL"),
        (_tls(2, allowed_fingerprints=["$S"]), "must be the SHA-256 fingerprint"),
        (lambda value: value.update(name="$S()"), "must be an operator's name"),
        (lambda value: value["channels"][4].update(type="$S"), "$S is not one of grpc_server"),
        (lambda value: value.update({"$include": "$S.yml"}), "no such file"),
        (lambda value: value.update({"$include": "$S"}), "neither YAML nor JSON"),
        (lambda value: value["channels"][4].update(settings={"$ref": "a.$S"}), "there is no a.$S in this file"),
        (lambda value: value["channels"][4].update(settings={"$ref": "$S"}), "there is no $S in this file"),
        (
            lambda value: value["vars"].update(V={"source": "env", "variable": "$S", "type": "string"}),
            "the environment variable $S is not set",
        ),
        (
            lambda value: value["vars"].update(V={"source": "env", "variable": "S", "type": "int"}),
            "not of the type int",
        ),
    ],
)
def test_what_a_variable_holds_is_never_shown(folder: Path, change: Callable[[Any], object], said: str) -> None:
    value = changed({"vars": VARS, **EPS}, change)
    put(folder, value)
    reading = read_program("eps", PROGRAMS["eps"].model, {"EPS_SETTINGS": "s.json", "S": SECRET}, folder)
    texts = [str(problem) for problem in reading.problems]
    assert reading.settings is None and any(said in text for text in texts), texts
    assert not [text for text in texts if SECRET in text or "w0rd" in text]


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ({"bind_address": "localhost:2132"}, ""),
        ({"bind_address": "[::1]:2132"}, ""),
        ({"bind_address": ":2132"}, "error status.bind_address: without tls the status page is on loopback only"),
        (
            {"bind_address": "10.1.2.3:2132"},
            "error status.bind_address: without tls the status page is on loopback only",
        ),
        ({"bind_address": "localhost:1", "allowed_names": ["x"]}, "error status: allowed_names needs tls"),
        ({}, "error status.bind_address: is missing"),
    ],
    ids=["localhost", "loopback", "everywhere", "elsewhere", "names", "nowhere"],
)
def test_the_status_page_is_for_this_machine_or_has_tls(folder: Path, status: dict[str, Any], problem: str) -> None:
    found = report("eps", folder, {**EPS, "status": status})
    assert found == [] if not problem else problem in found[0], found


@pytest.mark.parametrize("origin", ["https://app.example.org", "http://localhost:8008", "http://[::1]:81"])
def test_an_origin(origin: str, folder: Path) -> None:
    server = eps(folder, changed(EPS, _channel(2, cors={"allowed_origins": [origin]}))).settings.jsonrpc_server
    assert server is not None and server.cors is not None and server.cors.allowed_origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://app.example.org/",
        "https://App.example.org",
        "https://a:443",
        "ftp://a",
        "a",
        "",
        "https://*.example.org",
        "https://a b",
    ],
)
def test_what_no_browser_writes_as_an_origin(origin: str, folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"origin|URL"):
        eps(folder, changed(EPS, _channel(2, cors={"allowed_origins": [origin]})))
