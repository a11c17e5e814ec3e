"""The broken networks that take long to make (``support.broken_networks_late``): what is told of each, and what doctors
say. ``make chaos`` runs it.
"""

import os
import re
from pathlib import Path

import pytest

from support.broken_networks import toured
from support.broken_networks_doctors import SLOW, named
from support.broken_networks_late import FAKETIME, LateTour
from support.broken_networks_page import BY_ID, EXECUTED, check_page

TELLS: dict[str, tuple[str, str, str]] = {
    # id: the word; what the cause says; what the fix says
    "token-expired": ("token-late", r"hd-2 came too late: \d+\.\d s after it was asked", "server is slow"),
    "relay-dropped-a": ("relay-silent", "no answer within 10 s", "firewall"),
    "relay-dropped-b": ("relay-silent", "hd-2 reports: the relay does not answer in time", "firewall"),
    "own-expired-start": ("own-expired", "has expired on 20", "renew it"),
    "own-expires-running": ("", "expires in 19 days", "get a new one"),
    "clock-ahead": ("own-clock", "^our clock is 109[45] days ahead of that of the service directory", "set the clock"),
    "clock-behind": ("own-clock", "^our clock is 2[34] hours behind that of the service directory", "set the clock"),
    "signer-clock-ahead": ("record-ahead", r"is dated .*, (59|60) minutes ahead of the clock", "machine that signed"),
    "state-disk-full": ("disk-full", "the disk is full", "make room"),
    "sd-set-back": ("directory-set-back", "was set back: it lacks 1 record that we verified", "sd store import"),
}

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.xdist_group("broken networks"),
    pytest.mark.timeout(580),
    pytest.mark.skipif(os.geteuid() != 0 or not Path(FAKETIME).exists(), reason="needs root, and apt's libfaketime"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, dev_tree: Path) -> LateTour:
    return toured(LateTour, tmp_path_factory.mktemp("late") / "network", dev_tree)


@pytest.mark.parametrize("name", TELLS)
def test_what_is_told(seen: LateTour, name: str) -> None:
    reason, cause, fix = TELLS[name]
    said, wanted = seen.told[name], BY_ID[name]
    assert re.search(cause, said.text, re.DOTALL), said
    assert re.search(fix, said.text, re.DOTALL), said
    assert (said.reason, said.side) == (reason, wanted["side"]), said
    if said.where in ("call", "start"):
        assert said.stage == wanted["stage"], said
        assert EXECUTED[said.outcome] == wanted["executed"], said


@pytest.mark.parametrize("name", SLOW)
def test_what_doctors_say(seen: LateTour, name: str) -> None:
    for names in SLOW[name]:
        assert named(names, seen.doctors[name]), (names, seen.doctors[name])


def test_the_page_says_what_is_told(seen: LateTour) -> None:
    check_page(seen, TELLS)
