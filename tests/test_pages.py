"""Every block of README.md and docs/: commands are typed by a test, settings and records can be pasted, and all else
says what it is. A new block that is none of it fails here."""

import configparser
import json
from pathlib import Path

import pytest

from eps.core.advice import wrong
from eps.core.exact import flaw
from eps.core.record import parse_change_record
from eps.settings import PROGRAMS, read_program
from support.howto import README, TYPED, Block, blocks_of
from support.machine import ROOT

PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))

GENERATED = ("reference-broken-networks.md", "reference-screens.md")
"""Each of their blocks is written by docs/generate.py, and compared by a test."""

PICTURES = ("mermaid",)

ABSENT = ("no such file", "is missing", "needs somebody to ask")
"""What settings lack that are a part, or whose files are on another machine."""

EXPLAINED = {"reference-settings.md": "tls: unknown key"}
"""What a page says itself of a block on it."""


def kind_of(block: Block, before: Block | None) -> str:
    """What a block is; "" if nobody knows."""
    if block.is_command:
        return "not run" if "not run" in block.marks else "typed"
    if block.kind in ("yaml", "json", "ini"):
        return block.kind
    if block.kind in ("python", "toml", "js"):
        return "typed" if "file" in block.marks else ""
    if block.page in GENERATED or block.kind in PICTURES:
        return "generated or drawn"
    return "sample" if "sample" in block.marks else "compared" if block.shows(before) else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_of_every_block_it_is_known_what_it_is(page: Path) -> None:
    before: Block | None = None
    for block in blocks_of(page):
        kind = kind_of(block, before)
        assert kind, f"{block}: a command that nobody types, or something shown without <!-- sample: why -->"
        assert kind != "typed" or page.name in TYPED, f"{block}: no test types this page"
        assert all(len(why) > 5 for why in block.marks.values()), block
        before = block


def test_tests_that_type_pages_are_there() -> None:
    assert all((ROOT / "tests" / test).is_file() for test in TYPED.values())
    assert all((ROOT / "docs" / name).is_file() for name in GENERATED)


SETTINGS = [block for page in PAGES for block in blocks_of(page) if block.kind == "yaml"]


@pytest.mark.parametrize("block", SETTINGS, ids=str)
def test_settings_are_some(block: Block, tmp_path: Path) -> None:
    """Of one of the programs, and without an unknown key or a wrong value."""
    (tmp_path / "page.yml").write_text(block.text)
    found = []
    for name, program in PROGRAMS.items():
        reading = read_program(name, program.model, {program.variable: str(tmp_path / "page.yml")}, tmp_path, None)
        texts = [str(one) for one in reading.problems]
        if not any("these look like" in text for text in texts):
            known = EXPLAINED.get(block.page, "")
            found.append(
                [text for text in texts if not any(one in text for one in ABSENT) and not (known and known in text)]
            )
    assert [] in found, found


@pytest.mark.parametrize(
    "block", [block for page in PAGES for block in blocks_of(page) if block.kind == "json"], ids=str
)
def test_records_can_be_signed(block: Block) -> None:
    for value in json.loads(block.text)["records"]:
        record = parse_change_record({**value, "created_at": "2026-11-22T00:00:00Z"})
        assert wrong(record, value) == [] and flaw(record) == ""


@pytest.mark.parametrize(
    "block", [block for page in PAGES for block in blocks_of(page) if block.kind == "ini"], ids=str
)
def test_units_can_be_read(block: Block) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(block.text if block.text.startswith("[") else f"[Service]\n{block.text}")
    assert set(parser.sections()) <= {"Unit", "Service", "Socket", "Install"} and parser.sections()
