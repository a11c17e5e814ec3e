"""The administrator's commands, in process: what they take from settings and how they tell failures."""

import json
from pathlib import Path
from typing import Any

import pytest

from eps.core.message import Error
from eps.errors import BadParams, SettingsError, StartError
from eps.programs.admin import commands as admin
from eps.settings import EpsSettings
from eps.settings.models import JsonDirectory, JsonDirectorySettings, JsonRpcServerChannel
from support.machine import Machine


@pytest.fixture
def settings(machine: Machine) -> EpsSettings:
    return admin.own_settings(machine.environment("hd-1"), machine.folder)


def test_own_settings_tell_what_is_doubtful(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    (machine.dev / "roles" / "hd-1" / "003_more.yml").write_text("metrics: {bind_adress: x}\n")
    assert admin.own_settings(machine.environment("hd-1"), machine.folder).name == "hd-1"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "bind_adress" in captured.err


async def test_a_json_directory_has_nobody_to_ask(settings: EpsSettings, tmp_path: Path) -> None:
    directory = JsonDirectory(type="json", settings=JsonDirectorySettings(path=str(tmp_path)))
    other = settings.model_copy(update={"directory": directory})
    with pytest.raises(SettingsError, match=r"directory\.type is json") as caught:
        async with admin.directory_of(other):
            pass
    assert "api" in caught.value.hint


def test_signing_needs_its_section_and_its_files(settings: EpsSettings) -> None:
    assert str(admin.signer_of(settings).subject.name) == "hd-1"
    with pytest.raises(SettingsError, match="no section «signing»"):
        admin.signer_of(settings.model_copy(update={"signing": None}))
    signing = settings.signing
    assert signing is not None
    Path(signing.key_file).write_text("no key")
    with pytest.raises(StartError, match=r"hd-1-sign\.key: holds no EC PRIVATE KEY in PEM form"):
        admin.signer_of(settings)
    Path(signing.key_file).unlink()
    with pytest.raises(StartError, match=r"hd-1-sign\.key: no such file"):
        admin.signer_of(settings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no usable JSON"),
        ("{", "no usable JSON"),
        ('{"a": 1, "a": 2}', "no usable JSON"),
        ("[1]", "must be a JSON object"),
        ("null", "must be a JSON object"),
    ],
)
def test_params_that_are_no_object(text: str, says: str) -> None:
    with pytest.raises(BadParams, match=says) as caught:
        admin.params_of(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("bind", "host"),
    [
        ("localhost:1", "localhost"),
        ("0.0.0.0:1", "localhost"),
        ("[::]:1", "localhost"),
        ("10.1.2.3:1", "10.1.2.3"),
        ("[fd00::1]:1", "[fd00::1]"),
    ],
)
async def test_where_our_own_server_is(settings: EpsSettings, bind: str, host: str) -> None:
    for tls in (True, False):
        client = admin.own_server_client(with_server(settings, bind_address=bind, **({} if tls else {"tls": None})))
        assert client.label == f"our EPS server hd-1 at http{'s' if tls else ''}://{host}:1/jsonrpc"
        await client.close()


async def test_without_a_jsonrpc_server_there_is_nobody_to_call(settings: EpsSettings) -> None:
    channels = tuple(channel for channel in settings.channels if not isinstance(channel, JsonRpcServerChannel))
    with pytest.raises(SettingsError, match="no jsonrpc_server channel"):
        admin.own_server_client(settings.model_copy(update={"channels": channels}))


def with_server(settings: EpsSettings, **changes: Any) -> EpsSettings:
    channels = tuple(
        channel.model_copy(update={"settings": channel.settings.model_copy(update=changes)})
        if isinstance(channel, JsonRpcServerChannel)
        else channel
        for channel in settings.channels
    )
    return settings.model_copy(update={"channels": channels})


DATA = {"stage": "relay", "side": "proxy", "outcome": "not_sent", "hint": "try"}


@pytest.mark.parametrize(
    ("data", "more"),
    [
        (DATA, "where: stage relay, side proxy; it was not executed\nhint:  try\n"),
        (DATA | {"outcome": "unknown"}, "where: stage relay, side proxy; it may have been executed\nhint:  try\n"),
        (DATA | {"hint": ""}, "where: stage relay, side proxy; it was not executed\n"),
        (DATA | {"outcome": "odd"}, "where: stage relay, side proxy; odd\nhint:  try\n"),
        (None, ""),
        ({}, ""),
        ({"own": "größer"}, 'data:  {"own": "größer"}\n'),
        ("text", 'data:  "text"\n'),
        (
            DATA | {"hint": "a\x1b[2J\nb\x9b"},
            "where: stage relay, side proxy; it was not executed\nhint:  a\\x1b[2J\nb\\x9b\n",
        ),
    ],
)
def test_how_a_failed_call_is_told(data: Any, more: str, capsys: pytest.CaptureFixture[str]) -> None:
    admin.tell_error(Error(500, "it broke", data))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"error: it broke (code 500)\n{more}")


def test_checking_settings(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(machine.folder)
    for name in ("EPS_SETTINGS", "SD_SETTINGS", "PROXY_SETTINGS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="no settings variable is set"):
        admin.check_config("", as_json=False)
    with pytest.raises(SettingsError, match="there is no program 'fax'"):
        admin.check_config("fax", as_json=False)
    for role in ("hd-1", "sd-1", "public-proxy-1"):
        for name, value in machine.environment(role).items():
            monkeypatch.setenv(name, value)
    assert admin.check_config("", as_json=False) == 0
    assert capsys.readouterr().out.count("the settings are fine") == 3
    (machine.dev / "certs" / "sd-1.crt").unlink()
    assert admin.check_config("", as_json=True) == 1
    assert [report["ok"] for report in json.loads(capsys.readouterr().out)] == [True, False, True]
    assert admin.check_config("eps", as_json=False) == 0
