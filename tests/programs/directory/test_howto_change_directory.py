"""docs/howto-change-directory.md, command by command."""

import json
import re
import shlex

import pytest

from support.directory_network import Network
from support.machine import ROOT, Done

PAGE = (ROOT / "docs" / "howto-change-directory.md").read_text()

HERE = {"/etc/eps/acme": "hd-2", "/etc/eps/admin-org": "hd-1"}
"""Whose settings the page's are here."""


class Reader:
    """Somebody who follows the page; acme is hd-2 here, and the administrator hd-1."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.role = "hd-2"

    def follow(self, heading: str, most: int | None = None) -> list[Done]:
        """Type what stands in indented lines below a heading, or the first of them; what they print."""
        section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        lines = re.findall(r"^    ((?:eps|export) [^\n]*)$", section, re.MULTILINE)
        assert lines, heading
        return [done for line in lines[:most] if (done := self.type(line)) is not None]

    def type(self, line: str) -> Done | None:
        command, _, file = line.replace("acme", "hd-2").partition(" > ")
        words = shlex.split(command)
        if words[0] == "export":
            self.role = HERE[line.partition("=")[2]]
            return None
        done = self.network.eps(*words[1:], role=self.role)
        assert done.code == 0, (line, done)
        if file:
            (self.network.folder / file).write_text(done.out)
        return done

    def edit(self) -> None:
        """Add a group to the entry that was written down."""
        value = json.loads((self.network.folder / "hd-2.json").read_text())
        value["groups"].append("staff")
        self.network.file(value, "hd-2.json")


TYPED = {
    "Look": 4,
    "Propose a change of your entry": 3,
    "Check, sign and submit": 5,
    "Remove an operator": 2,
}
"""How many commands of each section the tests below type: all."""


def test_no_command_is_left_out() -> None:
    sections = [section.partition("\n") for section in PAGE.split("\n## ")[1:]]
    found = {heading: len(re.findall(r"^    (?:eps|export) ", text, re.MULTILINE)) for heading, _, text in sections}
    assert found == TYPED


@pytest.fixture
def reader(network: Network) -> Reader:
    return Reader(network)


def test_look(reader: Reader) -> None:
    everybody, one, history = reader.follow("Look")
    assert "hd-2 " in everybody.out and one.out.startswith("hd-2\n  channels: signed by hd-1, ")
    assert history.out.count("signed by hd-1") == 4


def test_propose_sign_and_submit(reader: Reader) -> None:
    reader.follow("Look")
    reader.follow("Propose a change of your entry", 1)
    reader.edit()
    difference = reader.type("eps directory diff acme.json")
    assert difference is not None and difference.out == "hd-2\n  groups\n    + staff\n"
    reader.type('eps directory propose acme.json --why "the staff group is ours, too" > slip.json')
    checked, submitted = (done for done in reader.follow("Check, sign and submit", 3))
    assert "why: the staff group is ours, too" in checked.out and "submitted 1 record" in submitted.out
    assert reader.network.groups("hd-2") == ("health-departments", "staff")


def test_sign_on_another_machine(reader: Reader) -> None:
    reader.follow("Look", 1)
    reader.follow("Propose a change of your entry", 1)
    reader.edit()
    reader.type("eps directory propose acme.json > slip.json")
    reader.role = "hd-1"
    section = PAGE.partition("\n## Check, sign and submit\n")[2]
    for line in re.findall(r"^    (eps directory (?:sign|submit signed)[^\n]*)$", section, re.MULTILINE):
        reader.type(line)
    assert reader.network.groups("hd-2") == ("health-departments", "staff")


def test_remove(reader: Reader) -> None:
    reader.role = "hd-1"
    dry, done = reader.follow("Remove an operator")
    assert "    + signing " + "0" * 64 in dry.out and "submitted 4 records" in done.out
    assert reader.network.groups("hd-2") == ()
