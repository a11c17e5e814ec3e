"""Programs that can't start: exit code 2 and one line that says what, where, and what to try."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from eps.pki import Authority
from support.certs import authority, make
from support.machine import Done, Machine

HD_1 = ("eps", "server", "run")


def only_line(done: Done) -> str:
    """The one line of a program that could not start; what parts that were up already say may precede it."""
    assert done.code == 2, done
    assert done.out == ""
    lines = done.err.splitlines()
    assert [" fatal " in line for line in lines] == [False] * (len(lines) - 1) + [True], done.err
    before = ("directory not updated", "shows the certificate")
    assert all(any(text in line for text in before) for line in lines[:-1]), done.err
    return lines[-1]


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("role", "command"),
    [("hd-1", HD_1), ("sd-1", ("sd", "run")), ("public-proxy-1", ("proxy", "run", "public"))],
)
async def test_settings_variable(machine: Machine, role: str, command: tuple[str, ...]) -> None:
    variable = f"{command[0].upper()}_SETTINGS"
    empty = only_line(await machine.run(*command, role=role, **{variable: ""}))
    assert f"{variable}: is empty" in empty
    unset = only_line(await machine.run("env", "-u", variable, *command, role=role))
    assert f"{variable}: is not set" in unset
    assert f"as in {variable}=settings/dev/roles/{role})" in unset
    wrong = only_line(await machine.run(*command, role=role, **{variable: "settings/dev/roles/nobody"}))
    assert "settings/dev/roles/nobody: no such file or folder" in wrong
    assert str(machine.folder) in wrong  # what the path is relative to


def missing_certificate(machine: Machine) -> tuple[str, str]:
    (machine.dev / "certs" / "hd-1.crt").unlink()
    return "certs/hd-1.crt", "make certs"


def missing_key(machine: Machine) -> tuple[str, str]:
    (machine.dev / "certs" / "hd-1.key").unlink()
    return "certs/hd-1.key", "no such file"


def wrong_key(machine: Machine) -> tuple[str, str]:
    certs = machine.dev / "certs"
    (certs / "hd-1.key").write_bytes((certs / "hd-2.key").read_bytes())
    return "certs/hd-1.key: the key does not fit the certificate in", "certs/hd-1.crt"


def key_and_certificate_swapped(machine: Machine) -> tuple[str, str]:
    certs = machine.dev / "certs"
    (certs / "hd-1.crt").write_bytes((certs / "hd-1.key").read_bytes())
    return "certs/hd-1.crt: holds no certificate in PEM form", "tls.certificate_file"


def expired(machine: Machine) -> tuple[str, str]:
    then = datetime.now(UTC) - timedelta(days=900)
    Authority.create(fast=True, now=then).issue_tls("hd-1").write(machine.dev / "certs", "hd-1")
    return "certs/hd-1.crt: the certificate of", "has expired on"


def old_key(machine: Machine) -> tuple[str, str]:
    """The chain is doubtful, too, and the end is near: neither matters where nothing works."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    now = datetime.now(UTC)
    leaf = make("hd-1", start=now - timedelta(days=3), end=now + timedelta(days=3), key=key)
    (machine.dev / "certs" / "hd-1.crt").write_bytes(leaf.pem + authority("other").pem)
    (machine.dev / "certs" / "hd-1.key").write_bytes(leaf.key_pem)
    return "certs/hd-1.crt: the certificate of hd-1: its RSA key has 1024 bits", "use RSA with 2,048 bits"


def joined(machine: Machine) -> tuple[str, str]:
    file = machine.dev / "certs" / "hd-1.crt"
    file.write_bytes(file.read_bytes().replace(b"-----\n-----", b"----------"))
    return (
        "certs/hd-1.crt: holds no certificate in PEM form: line ",
        "one block ends and the next begins in the same line",
    )


def no_authority(machine: Machine) -> tuple[str, str]:
    (machine.dev / "certs" / "root.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    return "certs/root.crt", "holds no certificate in PEM form"


def wrong_type(machine: Machine) -> tuple[str, str]:
    replace(machine.dev / "roles" / "hd-1" / "002_server.yml", "type: grpc_server", "type: grpc_sever")
    return "hd-1/002_server.yml: channels[1].type: grpc_sever is not one of", "did you mean grpc_server?"


def no_yaml(machine: Machine) -> tuple[str, str]:
    (machine.dev / "roles" / "hd-1" / "003_more.yml").write_text("metrics: {\n")
    return "hd-1/003_more.yml", "line 2"


@pytest.mark.parametrize(
    "spoil",
    [
        missing_certificate,
        missing_key,
        wrong_key,
        key_and_certificate_swapped,
        expired,
        old_key,
        joined,
        no_authority,
        wrong_type,
        no_yaml,
    ],
    ids=lambda spoil: spoil.__name__,
)
async def test_a_spoilt_file(machine: Machine, spoil: Callable[[Machine], tuple[str, str]]) -> None:
    what, more = spoil(machine)
    line = only_line(await machine.run(*HD_1, role="hd-1"))
    assert what in line
    assert more in line
    checked = await machine.run("eps", "config", "check", role="hd-1")
    assert checked.code == 1
    assert what in checked.out + checked.err


async def test_a_doubtful_chain_is_told_once_and_does_not_keep_a_server_from_starting(machine: Machine) -> None:
    file = machine.dev / "certs" / "hd-1.crt"
    file.write_bytes(file.read_bytes() + Authority.create(fast=True).root_pem)
    await machine.start("hd-1")
    told = [line for line in machine.processes["hd-1"].lines if "certs/hd-1.crt" in line.get("text", "")]
    assert [(line["level"], "not needed on the way from hd-1 to its authority" in line["text"]) for line in told] == [
        ("warn", True)
    ]
    checked = await machine.run("eps", "config", "check", role="hd-1")
    assert checked.code == 0
    assert (checked.out + checked.err).count("not needed on the way") == 1


async def test_a_name_that_does_not_resolve(machine: Machine) -> None:
    port = machine.ports.of[3322]
    replace(
        machine.dev / "roles" / "sd-1" / "001_default.yml",
        f"bind_address: localhost:{port}",
        f"bind_address: no.invalid:{port}",
    )
    line = only_line(await machine.run("sd", "run", role="sd-1"))
    assert f"can't listen on no.invalid:{port}" in line
    assert "no address of this machine" in line


async def test_state_that_cannot_be_kept(machine: Machine) -> None:
    (machine.folder / ".eps").write_text("not a folder")
    line = only_line(await machine.run("sd", "run", role="sd-1"))
    assert ".eps/sd-1/records.sqlite can't be opened" in line
    assert "writable" in line


async def test_a_key_that_does_not_sign(machine: Machine) -> None:
    certs = machine.dev / "certs"
    (certs / "hd-1-sign.key").write_bytes((certs / "hd-2-sign.key").read_bytes())
    done = await machine.run("eps", "sd", "submit-records", "settings/dev/directory/001_base.json")
    assert done.code == 1
    assert "hd-1-sign" in done.err
    assert "does not belong to the certificate of hd-1" in done.err
    (certs / "hd-1-sign.key").write_bytes((certs / "hd-1.key").read_bytes())
    done = await machine.run("eps", "sd", "sign", "settings/dev/directory/001_base.json")
    assert done.code == 1
    assert "EC PRIVATE KEY" in done.err


@pytest.mark.parametrize(
    ("role", "command", "port", "what"),
    [
        ("hd-1", HD_1, 8888, "grpc"),
        ("hd-1", HD_1, 5555, "jsonrpc"),
        ("hd-1", HD_1, 2112, "metrics"),
        ("sd-1", ("sd", "run"), 3322, "jsonrpc"),
        ("public-proxy-1", ("proxy", "run", "public"), 9999, "relay"),
        ("public-proxy-1", ("proxy", "run", "public"), 6655, "jsonrpc"),
    ],
)
async def test_a_taken_port(machine: Machine, role: str, command: tuple[str, ...], port: int, what: str) -> None:
    number = machine.ports.of[port]
    with socket.create_server(("127.0.0.1", number)):
        line = only_line(await machine.run(*command, role=role))
    assert f"{what}: can't listen on localhost:{number}: another program uses that port" in line
    assert f"ss -ltnp 'sport = :{number}'" in line


async def test_settings_of_another_program(machine: Machine) -> None:
    done = await machine.run(*HD_1, role="hd-1", EPS_SETTINGS="settings/dev/roles/sd-1")
    assert done.code == 2
    assert "sd-1/001_default.yml: these look like sd's settings, not eps's" in done.err
    assert "EPS_SETTINGS must name eps's settings; the variable for these is SD_SETTINGS" in done.err


async def test_a_second_server_on_the_same_state(machine: Machine) -> None:
    await machine.start("sd-1")
    file = machine.dev / "roles" / "sd-1" / "001_default.yml"
    replace(file, f"localhost:{machine.ports.of[3322]}", "localhost:0")
    line = only_line(await machine.run("sd", "run", role="sd-1"))
    assert "records.sqlite" in line
    assert "another" in line


async def test_unknown_keys_warn_and_do_not_keep_a_server_from_starting(machine: Machine) -> None:
    (machine.dev / "roles" / "hd-1" / "003_more.yml").write_text("metrics: {bind_adress: x}\nlegacy: 1\n")
    await machine.start("hd-1")
    line = await machine.processes["hd-1"].wait_for(kind="notice", text="bind_adress")
    assert line["level"] == "warn"
    assert "003_more.yml" in line["text"]
    assert "bind_address" in line["text"]
