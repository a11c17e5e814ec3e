"""Settings as the lower layers take them."""

from pathlib import Path

import pytest

from eps.core.event import Level, Notice
from eps.core.names import Operator
from eps.errors import StartError
from eps.programs.wiring.parts import open_datastore, read_file, settings_from, tls_files
from eps.settings import load_eps, models
from support.testing import Events


async def test_datastores(tmp_path: Path) -> None:
    memory = await open_datastore(models.MemoryDatastore(type="memory"))
    await memory.close()
    other = models.RedisDatastore.model_construct(type="redis")
    with pytest.raises(StartError, match="no datastore of type redis") as caught:
        await open_datastore(other)
    assert "sqlite" in caught.value.hint


def test_our_own_name_is_always_allowed() -> None:
    tls = models.TlsSettings(allowed_names=("demo-app",))
    assert tls_files(tls, Operator("hd-1")).allowed_names == ("hd-1", "demo-app")
    assert tls_files(tls).allowed_names == ("demo-app",)
    assert tls_files(models.TlsSettings(), Operator("hd-1")).allowed_names is None


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file"):
        read_file(str(tmp_path / "x"))
    with pytest.raises(StartError, match="Is a directory"):
        read_file(str(tmp_path))


def test_settings_come_from_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is doubtful about them is logged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPS_SETTINGS", "eps.yml")
    (tmp_path / "eps.yml").write_text("name: hd-1\nunknown: 1\ndirectory: {type: json, settings: {path: .}}\n")
    events = Events()
    assert settings_from(load_eps, events).name == "hd-1"
    (warning,) = events.of(Notice)
    assert (warning.level, warning.text.startswith("eps.yml: unknown")) == (Level.WARN, True)
