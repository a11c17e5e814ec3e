"""The page of broken networks (docs/reference-broken-networks.md): what it has of each, and how tests write it."""

import json
import os
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from eps.reasons import reason_of
from support.broken_networks import Told, Tour
from support.broken_networks_doctors import DOCTORS, named
from support.doctors import typed

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "broken_networks.json").read_text())
BY_ID = {network["id"]: network for network in VECTORS}
PAGE = Path(__file__).parents[2] / "docs" / "reference-broken-networks.md"

EXECUTED = {"not_sent": "no", "executed": "yes", "unknown": "unknown"}

WHERE = {
    "call": "The caller is told",
    "log": "The log says",
    "start": "The start ends with",
    "command": "The command says",
}


def check_page(seen: Tour, names: Iterable[str]) -> None:
    """Whether the page has the facts about these networks; ``EPS_WRITE_PAGE=1`` writes them first."""
    head, rows = rows_of_page()
    if os.environ.get("EPS_WRITE_PAGE"):
        rows |= {name: row_of(name, seen) for name in names}
        PAGE.write_text(head + "".join(rows[name] for name in BY_ID if name in rows))
    for name in names:
        row = rows.get(name, "")
        assert facts_of(seen.told[name]) in row, f"{name}: EPS_WRITE_PAGE=1 writes it"
        shown = [_facts_in(block) for block in row.split(LOOKED)[1:]]
        assert shown == [_facts_in(block) for block in blocks_of(name, seen)], f"{name}: EPS_WRITE_PAGE=1 writes it"


def rows_of_page() -> tuple[str, dict[str, str]]:
    """What stands above the networks on the page, and of each network its row."""
    head, mark, rest = PAGE.read_text().partition("<!-- networks -->\n")
    rows = [f"\n### `{row}" for row in rest.split("\n### `")[1:]]
    return head + mark, {row.split("`")[1]: row for row in rows}


def row_of(name: str, seen: Tour) -> str:
    """One network, for the page."""
    said = seen.told[name]
    head = f"\n### `{name}`\n\n*{BY_ID[name]['change']}.* {WHERE[said.where]}:\n\n"
    return f"{head}{_block(said.text.strip())}\n\n{facts_of(said)}\n{''.join(blocks_of(name, seen))}"


LOOKED = "\nLooked at with `"


def blocks_of(name: str, seen: Tour) -> list[str]:
    """What doctors say of one, each with who ran it."""
    return [
        f"{LOOKED}{' '.join(typed(names.doctor))}` at {names.doctor[0]}:\n\n"
        f"{_block(textwrap.dedent(named(names, seen.doctors[name]) or ''))}\n"
        for names in DOCTORS[name]
    ]


def _block(text: str) -> str:
    """``text`` without what differs from one machine to the next."""
    text = re.sub(r"/\S*/(settings|change|disk|ahead)", r"…/\1", text)
    text = re.sub(r"(localhost|127\.0\.0\.1):\d{2,5}", r"\1:PORT", text)
    text = re.sub(r"\b(?!abab)[0-9a-f]{64}\b", "FINGERPRINT", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "TRACE", text)
    text = re.sub(r"\(process \d+\)", "(process 4711)", re.sub(r"sport = :\d+", "sport = :PORT", text))
    return "\n".join(f"    {line}" if line else "" for line in text.rstrip().splitlines())


def _facts_in(block: str) -> list[str]:
    """Of a doctor's finding: how bad, whose, and the word."""
    return re.findall(r"^ +([✓!✗]|whose: .*|word: .*|error)", block, re.MULTILINE)


def facts_of(said: Told) -> str:
    """The words of one, as the page has them."""
    word = f", reason [`{said.reason}`](reference-reasons.md#{said.reason})" if reason_of(said.reason) else ""
    return f"stage {said.stage}, side {said.side}, executed: {EXECUTED[said.outcome]}{word}"
