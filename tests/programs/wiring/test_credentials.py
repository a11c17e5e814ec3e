"""Whose signatures count, by the settings."""

from pathlib import Path

import pytest

from eps.errors import StartError
from eps.programs.wiring.credentials import directory_trust, trust_store
from eps.settings import load_eps, load_sd
from eps.settings.models import ApiDirectory
from support.machine import Machine


def test_who_follows_a_directory_may_demand_canonical_signatures(machine: Machine) -> None:
    directory = load_eps(machine.environment("hd-1"), machine.folder).settings.directory
    assert isinstance(directory, ApiDirectory)
    assert directory_trust(directory.settings).canonical_from is None
    changes = {"require_canonical_signatures": "2027-01-01T00:00:00Z", "require_pinned_signers": True}
    trust = directory_trust(directory.settings.model_copy(update=changes))
    assert trust.pinned_only
    assert trust.canonical_from is not None
    assert trust.canonical_from.text == "2027-01-01T00:00:00Z"


def test_a_service_directory_demands_none(machine: Machine) -> None:
    settings = load_sd(machine.environment("sd-1"), machine.folder).settings
    assert directory_trust(settings.directory).canonical_from is None


def test_an_authority_of_signers_that_cannot_be_read_concerns_the_directory(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no such file") as caught:
        trust_store([str(tmp_path / "root.crt")], [])
    assert caught.value.step == "directory"
