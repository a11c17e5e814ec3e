"""The network that the tests of ``eps directory …`` share."""

from pathlib import Path

import pytest

from eps.programs.admin import commands as admin
from support.directory_network import Network, made_in


@pytest.fixture
def network(tmp_path: Path, dev_tree: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """The development network with its directory submitted; no process runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPS_SETTINGS", "settings/dev/roles/hd-1")
    made = made_in(tmp_path, dev_tree)
    monkeypatch.setattr(admin, "directory_clients", lambda given: made)
    done = made.eps("sd", "submit-records", "--json", "--reset", "settings/dev/directory")
    assert done.code == 0, done
    return made
