"""The Redis store found through Sentinel, and over TLS: real servers, failed over in mid-use."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import eps.datastores.redis as module
from eps.core.event import Level
from eps.datastores import DataEntry
from eps.datastores.redis import RedisDatastore
from eps.datastores.redis_link import RedisConnection, RedisPlace
from eps.errors import EpsError, Outcome, StartError, StoreFailed, StoreUnsure
from eps.transport.tls import TlsFiles
from support.ports import PortBlock
from support.redis_server import DURABLE, Failover, RedisServer, Told, entry, needs_redis, opened_store

pytestmark = [needs_redis, pytest.mark.xdist_group("redis")]


async def until_stored(store: RedisDatastore, new: DataEntry) -> None:
    """Append until it succeeds, as an administrator who submits again."""
    async with asyncio.timeout(40):
        while True:
            try:
                await store.append([new])
                return
            except EpsError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_failover_in_mid_use(
    tmp_path: Path, ports: PortBlock, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.1)
    async with Failover(tmp_path, ports, *DURABLE) as redis:
        place = RedisPlace((f"127.0.0.1:{ports.numbers[5]}", redis.sentinel.address), master_name="mymaster")
        async with opened_store(place, told := Told()) as store:
            assert ["before a replica has them" in text for text in told.texts(Level.WARN)] == [True]
            await store.append([entry(1)])
            await redis.replica.until(lambda length: length == 1, "LLEN", "entries")
            if how == "killed":
                await redis.master.kill()
            else:
                redis.master.freeze()
            await until_stored(store, entry(2))
            assert await store.read_all() == [entry(1), entry(2)]
            assert (await redis.replica.ask("ROLE"))[0] == b"master"
            (error,) = told.texts(Level.ERROR)
            assert "can't be reached" in error
            await told.until(f"can be reached again, at {redis.replica.address}")
            if how == "frozen":
                redis.master.thaw()
                assert await redis.master.ask("LLEN", "entries") == 1  # what it had been sent takes no effect
                assert await store.read_all() == [entry(1), entry(2)]


async def test_what_a_failover_has_lost_is_said(
    tmp_path: Path, ports: PortBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replica stood still: what the master acknowledged meanwhile is gone."""
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.1)
    async with Failover(tmp_path, ports, *DURABLE) as redis:
        place = RedisPlace((redis.sentinel.address,), master_name="mymaster")
        async with opened_store(place, told := Told()) as store:
            await store.append([entry(1)])
            await redis.replica.until(lambda length: length == 1, "LLEN", "entries")
            redis.replica.freeze()
            await redis.master.ask("CLIENT", "KILL", "TYPE", "replica")  # else it would wait in the replica's socket
            await store.append([entry(2)])
            await redis.master.kill()
            redis.replica.thaw()
            await told.until("was set back to an earlier state", seconds=40)
            with pytest.raises(EpsError, match="was set back"):
                await store.append([entry(3)])


async def test_a_change_waits_for_the_replica_that_is_to_have_it(
    tmp_path: Path, ports: PortBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one it is refused; one that is silent leaves it unsure, and what was not confirmed is taken back."""
    monkeypatch.setattr(module, "REPLICA_SECONDS", 30)  # on a loaded machine an honest replica is slow
    async with Failover(tmp_path, ports, *DURABLE) as redis:
        place = RedisPlace((redis.master.address,), replicas=1)
        async with opened_store(place, told := Told()) as store:
            await store.append([entry(1)])
            assert await redis.replica.ask("LLEN", "entries") == 1  # already, with nothing to wait for
            redis.replica.freeze()
            monkeypatch.setattr(module, "REPLICA_SECONDS", 0.3)
            with pytest.raises(StoreUnsure, match=r"master, but 0 of 1 replica confirmed it within 0\.3 s") as unsure:
                await store.append([entry(2)])
            assert unsure.value.outcome is Outcome.UNKNOWN and "may be stored" in unsure.value.told
            assert "before you send it again" in unsure.value.told_hint
            redis.replica.thaw()
            await told.until("they were taken back")
            await redis.replica.kill()
            await redis.master.until(lambda info: info["connected_slaves"] == 0, "INFO", "replication")
            with pytest.raises(StoreFailed, match=r"has 0 of the 1 replica that .*; nothing was stored"):
                await store.append([entry(3)])
            assert await store.read_all() == [entry(1)]


async def test_a_change_that_broke_off_is_not_called_confirmed(
    tmp_path: Path, ports: PortBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stored, and the connection broke: WAIT on the next one speaks of what that one has written."""
    real, broken = RedisConnection.execute, [1]

    async def execute(self: RedisConnection, *command: Any) -> Any:
        answer = await real(self, *command)
        if command[:2] == ("EVAL", module.CHANGE) and broken:
            broken.pop()
            raise ConnectionResetError("the answer is lost")
        return answer

    async with Failover(tmp_path, ports, *DURABLE) as redis:
        place = RedisPlace((redis.master.address,), replicas=1)
        monkeypatch.setattr(module, "REPLICA_SECONDS", 30)
        async with opened_store(place) as store:
            await store.append([entry(1)])
            monkeypatch.setattr(RedisConnection, "execute", execute)
            with pytest.raises(StoreUnsure, match="its connection broke before replicas confirmed it"):
                await store.append([entry(2)])
            assert not broken


async def test_sentinels_that_know_nothing_are_named(tmp_path: Path, ports: PortBlock) -> None:
    sentinel = RedisServer(tmp_path, ports.numbers[0], config=[])
    async with sentinel:
        nobody = f"127.0.0.1:{ports.numbers[1]}"
        with pytest.raises(StartError, match="knows no master 'other'") as caught:
            await RedisDatastore.open(RedisPlace((nobody, sentinel.address), master_name="other"), patience=0)
        assert f"the Sentinel {nobody}: " in caught.value.message and "refused" in caught.value.message
        assert "found through Sentinel at" in caught.value.message


# TLS


def tls_options(certs: Path, port: int, name: str = "hd-1") -> tuple[str, ...]:
    return (
        *("--port", "0", "--tls-port", str(port), "--tls-cert-file", str(certs / f"{name}.crt")),
        *("--tls-key-file", str(certs / f"{name}.key"), "--tls-ca-cert-file", str(certs / "root.crt")),
    )


def files(certs: Path, name: str | None = "hd-2", server_name: str | None = "hd-1") -> TlsFiles:
    own = (str(certs / f"{name}.crt"), str(certs / f"{name}.key")) if name else ("", "")
    return TlsFiles((str(certs / "root.crt"),), *own, server_name=server_name)


async def test_over_tls_with_our_certificate(tmp_path: Path, ports: PortBlock, dev_tree: Path) -> None:
    certs, port = dev_tree / "certs", ports.numbers[0]
    server = RedisServer(tmp_path, port, *DURABLE, *tls_options(certs, port))
    place = RedisPlace((server.address,), tls=files(certs))
    async with server, opened_store(place) as store:
        await store.append([entry(1)])
        assert await store.read_all() == [entry(1)]


@pytest.mark.parametrize(
    ("name", "server_name", "complaint"),
    [
        ("hd-2", "hd-9", "does not carry the name that we dialled"),
        ("hd-2", None, "does not carry the address that we dialled"),
        (None, "hd-1", "certificate"),
    ],
)
async def test_what_tls_refuses_is_said(
    tmp_path: Path, ports: PortBlock, dev_tree: Path, name: str | None, server_name: str | None, complaint: str
) -> None:
    certs, port = dev_tree / "certs", ports.numbers[0]
    async with RedisServer(tmp_path, port, *DURABLE, *tls_options(certs, port)) as server:
        with pytest.raises(StartError, match=complaint):
            await RedisDatastore.open(RedisPlace((server.address,), tls=files(certs, name, server_name)), patience=0)


async def test_plain_where_tls_is_spoken_and_the_reverse(tmp_path: Path, ports: PortBlock, dev_tree: Path) -> None:
    certs, port = dev_tree / "certs", ports.numbers[0]
    async with RedisServer(tmp_path / "tls", port, *DURABLE, *tls_options(certs, port)) as server:
        with pytest.raises(StartError, match="can't be reached"):
            await RedisDatastore.open(RedisPlace((server.address,)), patience=0)
    async with RedisServer(tmp_path / "plain", ports.numbers[1], *DURABLE) as server:
        with pytest.raises(StartError, match="can't be reached"):
            await RedisDatastore.open(RedisPlace((server.address,), tls=files(certs)), patience=0)
