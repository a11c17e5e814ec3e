"""The demo's stores; tests/integration/test_programs_demo.py runs it on Redis."""

import json
from pathlib import Path

import pytest

from eps.errors import StartError
from eps.programs.dev import stores
from eps.programs.dev.network import PASSTHROUGH_PROGRAMS, PROGRAMS
from eps.programs.dev.stores import SECTIONS, Store, redis_program, with_store


@pytest.mark.parametrize("store", [Store.FILE, Store.REDIS])
def test_who_keeps_something_keeps_it_there(tmp_path: Path, store: Store) -> None:
    programs = [*PROGRAMS, *PASSTHROUGH_PROGRAMS]
    folder = tmp_path / "a" / "b"
    for before, after in zip(programs, with_store(programs, store, folder, 7000), strict=True):
        if before.name not in SECTIONS:
            assert after is before
            continue
        ((variable, places),) = after.environment.items()
        assert places == f"{before.environment[variable]}:{folder}/{before.name}.json"
        (section,) = json.loads((folder / f"{before.name}.json").read_text()).values()
        assert section["datastore!"]["type"] == store
        wanted = {
            Store.FILE: {"filename": f"{folder}/{before.name}.entries"},
            Store.REDIS: {"addresses": ["127.0.0.1:7000"], "password": "", "key": before.name},
        }
        assert section["datastore!"]["settings"] == wanted[store]


def test_sqlite_is_what_the_settings_say(tmp_path: Path) -> None:
    assert with_store(PROGRAMS, Store.SQLITE, tmp_path / "a") == list(PROGRAMS)
    assert not (tmp_path / "a").exists()


def test_without_redis_the_demo_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores.shutil, "which", lambda name: None)
    with pytest.raises(StartError, match="redis-server is not installed") as caught:
        redis_program(tmp_path, 1)
    assert "make demo STORE=redis" in caught.value.hint
