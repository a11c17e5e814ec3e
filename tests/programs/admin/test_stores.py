"""``store copy | verify | backup | restore`` between all types, also while a program runs."""

import json
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import eps.programs.admin.store_owners as owners
from eps.core import record_text
from eps.datastores import RECORD, DataEntry, Datastore, new_id
from eps.datastores.file import FileDatastore
from eps.datastores.sqlite import SqliteDatastore
from eps.errors import EpsError, SettingsError, StartError
from eps.programs.admin import stores
from eps.programs.admin.stores import PASSWORD, place, read
from eps.programs.wiring.parts import open_datastore
from support.ports import PortBlock
from support.record_tools import AUTHORITY, NOW, chain_of
from support.redis_server import DURABLE, RedisServer, Told, needs_redis
from support.store_data import foreign_entry, foreign_file

KINDS = ["sqlite", "file", pytest.param("redis", marks=[needs_redis, pytest.mark.xdist_group("redis")])]


def records(count: int = 3) -> list[DataEntry]:
    return [DataEntry(RECORD, new_id(), record_text.dumps(record.to_json())) for record in chain_of(count)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of a service directory, whose store is ``state/store.sqlite``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(owners, "now", lambda: NOW + timedelta(days=1))
    (tmp_path / "root.crt").write_bytes(AUTHORITY.root_pem)
    (tmp_path / "intermediate.crt").write_bytes(AUTHORITY.intermediate_pem)
    settings("sd", {"type": "sqlite"}, monkeypatch)
    return tmp_path


def settings(name: str, datastore: Any, monkeypatch: pytest.MonkeyPatch | None = None) -> str:
    """Settings of a service directory with that store; the environment names them."""
    given = {
        "state_path": "state",
        "jsonrpc_server": {"bind_address": "localhost:0"},
        "directory": {
            "datastore": datastore,
            "ca_certificate_files": ["root.crt"],
            "ca_intermediate_certificate_files": ["intermediate.crt"],
        },
    }
    Path(f"{name}.json").write_text(json.dumps(given))
    if monkeypatch is not None:
        monkeypatch.setenv("SD_SETTINGS", f"{name}.json")
    return f"settings:{name}.json"


@asynccontextmanager
async def held(where: str, program: str = "sd") -> AsyncIterator[Datastore]:
    """A store that a program has open."""
    store = await open_datastore(place(where, program), Told())
    try:
        yield store
    finally:
        await store.close()


async def content(where: str) -> list[DataEntry]:
    return (await read(place(where, "sd"))).entries


@pytest.fixture
async def redis(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RedisServer | None]:
    """A server, if the test is about Redis."""
    parameters = request.node.callspec.params.values() if hasattr(request.node, "callspec") else ["redis"]
    if "redis" not in parameters:
        yield None
        return
    ports = PortBlock()
    async with RedisServer(tmp_path / "redis", ports.numbers[0], *DURABLE) as server:
        yield server
    ports.close()


def where(kind: str, name: str, redis: RedisServer | None) -> str:
    return f"redis://{redis.address}/2?key={name}" if kind == "redis" and redis is not None else f"{kind}:{name}"


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
async def test_copies_between_all_types(
    source: str, target: str, redis: RedisServer | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also while a program has the source open; entries keep type, id and data."""
    given = [*records(40), DataEntry(200, b"odd id", b"\x00\xff")]
    a, b = where(source, "a", redis), where(target, "b", redis)
    async with held(a) as store:
        await store.append(given)
        await stores.copy("sd", a, b, replace=False)
    assert await content(b) == given
    out, err = capsys.readouterr()
    assert out.startswith("copied 41 entries from ") and "read again, both hold the same: sha256 " in out
    assert err == ""
    await stores.verify("sd", b)
    verified = capsys.readouterr().out
    assert "40 records of which the newest chain, 40 records about 40 operators, verifies" in verified
    assert out.split()[-1] == verified.split()[-1]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_there_stays_unless_told_otherwise(kind: str, redis: RedisServer | None) -> None:
    there, given = records(2), records(3)
    target = where(kind, "b", redis)
    async with held("file:a") as source, held(target) as store:
        await source.append(given)
        await store.append(there)
    with pytest.raises(StartError, match="holds 2 entries already; nothing was changed"):
        await stores.copy("sd", "file:a", target, replace=False)
    assert await content(target) == there
    await stores.copy("sd", "file:a", target, replace=True)
    assert await content(target) == given


@pytest.mark.parametrize("kind", ["sqlite", "file"])
async def test_a_store_that_a_program_has_is_not_written_to(kind: str) -> None:
    async with held("file:a") as source:
        await source.append(records())
    async with held(f"{kind}:b"):
        with pytest.raises(StartError, match="in use by another program"):
            await stores.copy("sd", "file:a", f"{kind}:b", replace=True)


async def test_a_source_that_changes_meanwhile_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = stores.write
    async with held("sqlite:a") as store:
        await store.append(records(2))

        async def write(*arguments: Any, **options: Any) -> Any:
            await store.append(records(1))
            return await real(*arguments, **options)

        monkeypatch.setattr(stores, "write", write)
        await stores.copy("sd", "sqlite:a", "file:b", replace=False, as_json=True)
    out, err = capsys.readouterr()
    assert json.loads(out)["entries"] == 2 == len(await content("file:b"))
    assert "has changed meanwhile, it holds 3 entries now: stop the program" in err


async def test_a_target_that_is_written_to_meanwhile_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with held("sqlite:a") as store:
        await store.append(records(2))

    async def read_all(self: FileDatastore) -> list[DataEntry]:
        return records(1) if await self.last_id() else []

    monkeypatch.setattr(FileDatastore, "read_all", read_all)
    with pytest.raises(EpsError, match=r"does not hold what .*: 1 entry, not 2 entries"):
        await stores.copy("sd", "sqlite:a", "file:b", replace=False)


async def test_the_data_of_servers_in_use_is_copied_and_verified(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    chain = [record.to_json() for record in chain_of(5)]
    (folder / "theirs").write_bytes(foreign_file([foreign_entry(value) for value in chain]))
    await stores.verify("sd", "file:theirs")
    await stores.copy("sd", "file:theirs", "settings", replace=False)
    assert [json.loads(each.data) for each in await content("settings")] == chain
    assert capsys.readouterr().out.startswith(f"{folder}/theirs: 5 entries: 5 records")


# Verify


async def test_what_a_program_could_not_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    three = records(3)
    async with held("file:gap") as store:
        await store.append([three[0], three[2]])
    with pytest.raises(StartError, match=r"record 2 of 2 .* does not follow the one before it"):
        await stores.verify("sd", "file:gap")
    async with held("file:empty"):
        pass
    await stores.verify("sd", "file:empty", as_json=True)
    assert json.loads(capsys.readouterr().out)["entries"] == 0
    await stores.verify("sd", "file:empty")
    assert "0 entries: no records" in capsys.readouterr().out


async def test_a_torn_file_is_read_without_being_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with held("file:a") as store:
        await store.append(records(3))
    whole = (folder / "a").read_bytes()
    (folder / "a").write_bytes(whole[:-40])
    await stores.copy("sd", "file:a", "sqlite:b", replace=False)
    assert (folder / "a").read_bytes() == whole[:-40]
    err = capsys.readouterr().err
    assert "bytes that are no whole chunk: torn, or being written" in err
    assert "1 entry that is not whole; it was left out" in err


PROXY = {
    "name": "p.ga",
    "jsonrpc_client": {"endpoint": "http://localhost:1/"},
    "jsonrpc_server": {"bind_address": ":0"},
}


def announcement(holder: str, domain: str, expires_at: str | None = None) -> bytes:
    return json.dumps({holder: "hd-1", "domain": domain, "expires_at": expires_at}).encode()


@pytest.mark.parametrize(("kind", "holder", "type"), [("public", "operator", 1), ("private", "proxy", 2)])
async def test_announcements_are_verified(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, holder: str, type: int
) -> None:
    section = PROXY | ({"internal_endpoint": {"address": "localhost:1"}} if kind == "private" else {})
    Path("proxy.json").write_text(json.dumps({"state_path": "state", kind: section}))
    monkeypatch.setenv("PROXY_SETTINGS", "proxy.json")
    async with held("settings", "proxy") as store:
        await store.append(
            [
                DataEntry(type, new_id(), announcement(holder, "a.example")),
                DataEntry(type, new_id(), announcement(holder, "A.example")),
                DataEntry(type, new_id(), announcement(holder, "b.example", "2026-01-01T00:00:00Z")),
                DataEntry(3 - type, new_id(), b"?"),
            ]
        )
    await stores.verify("proxy", "settings")
    assert "4 entries: 1 announcement stands, 1 has expired" in capsys.readouterr().out
    async with held("settings", "proxy") as store:
        await store.append([DataEntry(type, new_id(), b"{}")])
    with pytest.raises(StartError, match="an entry that is no announcement, as number 5"):
        await stores.verify("proxy", "settings")


async def test_which_of_two_proxies_must_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    private = PROXY | {"internal_endpoint": {"address": "localhost:1"}}
    monkeypatch.setenv("PROXY_SETTINGS", "proxy.json")
    Path("proxy.json").write_text(json.dumps({"public": PROXY, "private": private}))
    with pytest.raises(SettingsError, match="both a public and a private proxy"):
        place("settings", "proxy")
    Path("proxy.json").write_text(json.dumps({"metrics": None}))
    with pytest.raises(SettingsError, match="neither"):
        place("settings", "proxy")


async def test_the_directory_cache_of_an_eps_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory: dict[str, Any] = {
        "type": "api",
        "settings": {
            "endpoints": ["http://localhost:1/"],
            "jsonrpc_client": {},
            "ca_certificate_files": ["root.crt"],
            "ca_intermediate_certificate_files": ["intermediate.crt"],
        },
    }
    monkeypatch.setenv("EPS_SETTINGS", "eps.json")
    Path("eps.json").write_text(json.dumps({"name": "hd-1", "state_path": "state", "directory": directory}))
    async with held("settings", "eps") as store:
        await store.append(records(2))
        assert store.location.endswith("state/directory-cache.sqlite")
    await stores.verify("eps", "settings")
    assert "2 records" in capsys.readouterr().out
    Path("folder").mkdir()
    directory = {"type": "json", "settings": {"path": "folder"}}
    Path("eps.json").write_text(json.dumps({"name": "hd-1", "directory": directory}))
    with pytest.raises(SettingsError, match="this server keeps no directory"):
        place("settings", "eps")


# Backups


@pytest.mark.parametrize("kind", KINDS)
async def test_a_backup_of_a_running_program_is_restored(
    kind: str, redis: RedisServer | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    datastore: dict[str, Any] = {"type": kind, "settings": {"path": "s.db"} if kind == "sqlite" else {"filename": "s"}}
    if redis is not None:
        datastore["settings"] = {"addresses": [redis.address], "password": "", "key": "sd-1"}
    settings("sd", datastore, monkeypatch)
    given = records(4)
    async with held("settings") as store:
        await store.append(given)
        await stores.backup("sd", Path("backup"), replace=False)
        with pytest.raises(StartError, match="is there already"):
            await stores.backup("sd", Path("backup"), replace=False)
        into_nothing = stores.backup("sd", Path("no/folder/b"), replace=True)
        for mistyped in (into_nothing, copied("file:no/b"), copied("sqlite:no/b")):
            with pytest.raises(StartError, match=r"/no(/folder)?: no such folder"):
                await mistyped
        assert not Path("no").exists()
        await store.append(records(1))
        await stores.backup("sd", Path("second"), replace=True)
    assert "backed up 4 entries" in capsys.readouterr().out
    with pytest.raises(StartError, match="holds 5 entries already"):
        await stores.restore("sd", Path("backup"), replace=False)
    await stores.restore("sd", Path("backup"), replace=True)
    assert await content("settings") == given
    assert "restored 4 entries" in capsys.readouterr().out


def copied(target: str) -> Coroutine[Any, Any, None]:
    return stores.copy("sd", "settings", target, replace=True)


async def test_a_backup_that_does_not_verify_is_not_restored() -> None:
    three = records(3)
    async with held("settings") as store, held("file:backup") as broken:
        await store.append(three)
        await broken.append([three[0], three[2]])
    with pytest.raises(StartError, match="don't verify"):
        await stores.restore("sd", Path("backup"), replace=True)
    assert await content("settings") == three


@pytest.mark.parametrize("kind", ["sqlite", "file"])
@pytest.mark.parametrize("what", ["a link", "a folder of others", "a file of others"])
async def test_verify_says_what_a_start_would_refuse(
    kind: str, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the change-over, while the old program still runs."""
    given = {"path" if kind == "sqlite" else "filename": str(Path.cwd() / "there")}
    settings("sd", {"type": kind, "settings": given}, monkeypatch)
    async with held("settings") as store:
        await store.append(records(2))
    await stores.verify("sd", "settings")
    assert capsys.readouterr().err == ""
    if what == "a link":
        Path("there").rename("far")
        Path("there").symlink_to("far")
    else:
        others = Path.cwd() if what == "a folder of others" else Path.cwd() / "there"
        allowed = os.access  # root may do everything, and tests run as root, too

        def access(path: Path, mode: int, **options: Any) -> bool:
            return allowed(path, mode, **options) and not (path == others and mode & os.W_OK)

        monkeypatch.setattr(os, "access", access)
    await stores.verify("sd", "settings")
    out, err = capsys.readouterr()
    assert "2 entries" in out
    assert err.startswith("warning: a start would fail") and "there can't be opened" in err
    assert ("it is a link (name the file" if what == "a link" else "(it and its folder must be writable") in err


# Places


async def test_another_installation_s_settings_name_its_store() -> None:
    other = settings("other", {"type": "file", "settings": {"filename": "theirs"}})
    async with held("settings") as store:
        await store.append(records(2))
    await stores.copy("sd", "settings", other, replace=False)
    assert len(await content("file:theirs")) == 2


@needs_redis
async def test_a_password_comes_from_the_environment(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await redis.ask("ACL", "SETUSER", "a@b", "on", ">secret", "~*", "+@all")
    monkeypatch.setenv(PASSWORD, "secret")
    there = f"redis://a%40b@{redis.address}"
    async with held("file:a") as store:
        await store.append(records(1))
    await stores.copy("sd", "file:a", there, replace=False)
    assert len(await content(there)) == 1
    assert "secret" not in "".join(capsys.readouterr())


def test_sentinels_can_be_named() -> None:
    store = place("redis://h:1,i:2/3?key=k&master_name=m", "sd")
    assert store.settings.model_dump(exclude_defaults=True) == {
        "addresses": ("h:1", "i:2"),
        "password": "",
        "master_name": "m",
        "database": 3,
        "key": "k",
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no datastore"),
        ("store.sqlite", "names no datastore"),
        ("sqlite:", "names no datastore"),
        ("redis://h", "must be HOST:PORT"),
        ("redis://h:1/x", "the database must be a number, not 'x'"),
        ("redis://h:1/?tls=1", "there is no option tls"),
        ("redis://u:pw@h:1/", "a password on the command line"),
        ("settings:nowhere", "no such file or folder"),
    ],
)
def test_what_names_no_store_is_said(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        place(text, "sd")
    assert "pw" not in str(caught.value)


async def test_a_store_in_memory_can_t_be_read() -> None:
    with pytest.raises(StartError, match="inside its program"):
        await read(place(settings("m", {"type": "memory"}), "sd"))


async def test_a_missing_store_is_not_made(folder: Path) -> None:
    for where in ("sqlite:none", "file:none"):
        with pytest.raises(StartError, match="can't be read"):
            await read(place(where, "sd"))
    assert not (folder / "none").exists()
    (folder / "new.db").write_bytes(b"")
    assert await content("sqlite:new.db") == []
    await (await SqliteDatastore.open(folder / "other.db")).close()
    assert await content("sqlite:other.db") == []
