"""Findings as people read them: a heading for each group, a line for each, and what to do under what is wrong. Pure."""

from collections.abc import Iterator, Sequence

from eps.core.wording import counted
from eps.programs.diagnosis.finding import Finding, Mark
from eps.programs.diagnosis.paper import Paper
from eps.reasons import Reason

SIGNS = {Mark.WELL: "✓", Mark.DOUBTFUL: "!", Mark.WRONG: "✗", Mark.UNKNOWN: "–"}
_STYLES = {
    Mark.WELL: ("green",),
    Mark.DOUBTFUL: ("yellow", "bold"),
    Mark.WRONG: ("red", "bold"),
    Mark.UNKNOWN: ("dim",),
}

SIDES = {
    "ours": "ours",
    "proxy": "the proxy's",
    "peer": "the other operator's",
    "directory": "the service directory's",
}
"""Whose something is, in words."""

ROOTS = frozenset(
    {
        Reason.OWN_CLOCK,
        Reason.OWN_EXPIRED,
        Reason.OWN_CA,
        Reason.OWN_PIN,
        Reason.OWN_ENTRY,
        Reason.KEY_MISFIT,
        Reason.PORT_TAKEN,
        Reason.DISK_FULL,
        Reason.PROXY_PROGRAM_DOWN,
    }
)
"""What other findings follow from, wherever it stands: a server that nobody believes reaches nobody, either. Without
one of these, the first finding is what to begin with."""

_INDENT = 6
_LABEL = 8


def report(title: str, findings: Sequence[Finding], paper: Paper) -> str:
    """All of it.

    Args:
        title: who was looked at.
    """
    lines = [paper.styled(title, "bold")]
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            lines.append(paper.styled(f"  {group}", "cyan"))
        lines += _finding(finding, paper)
    return "\n".join([*lines, _verdict(findings, paper)])


def root_of(findings: Sequence[Finding]) -> Finding | None:
    """What to begin with; None: nothing is wrong."""
    wrong = (finding for finding in findings if finding.mark is Mark.WRONG)
    return min(wrong, key=lambda finding: finding.reason not in ROOTS, default=None)


def _finding(finding: Finding, paper: Paper) -> Iterator[str]:
    sign = "    " + paper.styled(SIGNS[finding.mark], *_STYLES[finding.mark]) + " "
    took = f" ({finding.seconds * 1000:.1f} ms)" if finding.seconds is not None else ""
    yield paper.folded(finding.what + took, _INDENT, sign, ("bold",) if finding.mark is Mark.WRONG else ())
    if finding.mark in (Mark.WELL, Mark.UNKNOWN):
        details = {"": finding.why, "do:": finding.fix}
    else:
        whose = SIDES.get(finding.side, finding.side)
        details = {"why:": finding.why, "whose:": whose, "do:": finding.fix, "word:": finding.reason}
    for label, text in details.items():
        if text:
            columns, styles = (_INDENT + _LABEL, ()) if label else (_INDENT, ("dim",))
            yield paper.row(" " * _INDENT + label, text, columns, *styles)


def _verdict(findings: Sequence[Finding], paper: Paper) -> str:
    wrong, root = [finding for finding in findings if finding.mark is Mark.WRONG], root_of(findings)
    doubtful = [finding for finding in findings if finding.mark is Mark.DOUBTFUL]
    doubts = f"; {counted(len(doubtful), 'warning')}" if doubtful else ""
    if root is None:
        return paper.styled(f"nothing is wrong{doubts}", "green", "bold")
    first = f"{counted(len(wrong), 'thing is', 'things are')} wrong{doubts}; begin with this ✗: {root.what}"
    return paper.folded(first, 0, styles=("red", "bold"))
