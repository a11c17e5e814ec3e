"""Mermaid's sequence diagrams as SVG, as far as our pages have them: participants, messages, notes over one of them."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

COLUMN, ROW, LINE, HEAD = 280, 34, 17, 44
"""Pixels: between two participants, for a step, for a further line of its text, and for the names."""

_PARTICIPANT = re.compile(r"participant (\w+) as (.+)")
_MESSAGE = re.compile(r"(\w+)-?->>(\w+): ?(.+)")
_NOTE = re.compile(r"Note over (\w+): ?(.+)")


@dataclass(frozen=True, slots=True)
class Step:
    """One line: from whom to whom; a note is from somebody to itself."""

    begin: str
    end: str
    lines: tuple[str, ...]
    is_answer: bool = False


def picture(source: str) -> str:
    """The SVG; "" where it is no sequence diagram, or has what is not known here."""
    first, *lines = (line.strip() for line in source.strip().splitlines())
    if first != "sequenceDiagram":
        return ""
    names: dict[str, str] = {}
    steps: list[Step] = []
    for line in lines:
        if found := _PARTICIPANT.fullmatch(line):
            names[found[1]] = found[2]
        elif found := _MESSAGE.fullmatch(line):
            steps.append(Step(found[1], found[2], _lines(found[3]), "-->>" in line))
        elif found := _NOTE.fullmatch(line):
            steps.append(Step(found[1], found[1], _lines(found[2])))
        else:
            return ""
    return _drawn(names, steps)


def _lines(text: str) -> tuple[str, ...]:
    return tuple(re.sub(r" +", " ", part) for part in text.split("<br/>"))


def _drawn(names: dict[str, str], steps: list[Step]) -> str:
    at = {name: COLUMN // 2 + COLUMN * number for number, name in enumerate(names)}
    body: list[str] = []
    y = HEAD + ROW
    for step in steps:
        y += LINE * (len(step.lines) - 1)
        body += _step(step, at, y)
        y += ROW
    width, height = COLUMN * len(names), y
    said = "; ".join(f"{names[step.begin]} to {names[step.end]}: {' '.join(step.lines)}" for step in steps)
    heads = [
        f'<line class="life" x1="{x}" y1="{HEAD}" x2="{x}" y2="{height}"/>'
        f'<rect x="{x - 85}" y="6" width="170" height="32" rx="8"/>'
        f'<text x="{x}" y="27">{html.escape(names[name])}</text>'
        for name, x in at.items()
    ]
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    svg = f'<svg class="sequence" role="img" {size} aria-label="{html.escape(said)}">'
    return f'<div class="wide" tabindex="0">{svg}{"".join(heads)}{"".join(body)}</svg></div>\n'


def _step(step: Step, at: dict[str, int], y: int) -> Iterator[str]:
    begin, end = at[step.begin], at[step.end]
    for number, line in enumerate(reversed(step.lines)):
        x, up = (begin + end) // 2, y - 6 - LINE * number
        yield f'<text class="said" x="{x}" y="{up}">{html.escape(line)}</text>'
    if begin != end:
        back = 8 if end > begin else -8
        kind = "answer" if step.is_answer else "asked"
        yield f'<line class="{kind}" x1="{begin}" y1="{y}" x2="{end - back}" y2="{y}"/>'
        yield f'<path d="M {end} {y} l {-back} -4 l 0 8 z"/>'
