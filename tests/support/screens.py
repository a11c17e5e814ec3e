"""What the commands that look show, of fixed facts: the screens in docs/reference-screens.md, in text and in colour."""

import html
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rich.console import Console

from eps.core.message import Response
from eps.core.names import Operator
from eps.core.ways import way_between
from eps.programs.dev.demo import Demo
from eps.programs.diagnosis import explain, ping, report, trace
from eps.programs.diagnosis.finding import Finding, Mark, unknown, well
from eps.programs.diagnosis.known import Known
from eps.programs.diagnosis.paper import Paper
from eps.programs.diagnosis.trace import Export, Seen
from support.fakes import network_directory
from support.testing import step_line

WIDTHS = (60, 80, 120)

PROXY = "public-proxy-1.ga"

FINGERPRINT = "905369dfb3c29ff3b312071514bd80be9c3bcb0924b76c4358b2e8b7d6fd0a9e"
ANOTHER = "1f0e3dad99908345f7439f8ffabdffc4e7e1a1c1d8e0a5a9d2ac1c6a1a2b3c4d"

WAY = "the way to hd-2"

FINDINGS = (
    well("settings", "EPS_SETTINGS: 2 files read"),
    well("key modes", "2 keys and folders are private"),
    Finding(
        "key modes",
        Mark.DOUBTFUL,
        "/etc/eps/hd-1.key: every user of this machine may read this private key (mode 0644)",
        side="ours",
        fix="chmod 600 it, or 640 if its group is to read it",
        reason="key-readable",
    ),
    well("clock", "agrees with the service directory"),
    well("certificates", "hd-1.crt: hd-1 (TLS), valid until 2029-03-02, for 824 days", f"SHA-256 {FINGERPRINT}"),
    well(
        "running server", "hd-1 runs: version 0.1.0, process 812, for 26 hours", "gRPC :4444, JSON-RPC localhost:5555"
    ),
    well("running server", "JSON-RPC at localhost:5555 answers"),
    well(
        "service directory",
        "https://sd.example.org:3322/jsonrpc answers",
        "DNS 0.4 ms, TCP 8.2 ms, TLS 9.9 ms, HTTP 8.8 ms",
    ),
    well("service directory", "verified: 30 records about 10 operators"),
    well("service directory", "our server's copy was confirmed 7 minutes ago, or later"),
    Finding(
        "our pin",
        Mark.WRONG,
        "hd-1.crt is not pinned for hd-1",
        f"the directory does not pin {FINGERPRINT}; it pins {ANOTHER[:12]}…: other operators refuse us",
        "ours",
        "submit its fingerprint in the section certificates of our entry, or have the settings name the pinned file",
        "own-pin",
    ),
    Finding(
        "proxies",
        Mark.WRONG,
        f"{PROXY} at proxy.example.org:5556 is not reached",
        f"{PROXY} refused our certificate: the directory does not pin {FINGERPRINT} for hd-1 (as far as: DNS 0.3 ms, "
        "TCP 7.7 ms, TLS 9.1 ms)",
        "ours",
        "submit its fingerprint in the section certificates of our entry, or have the settings name the pinned file",
        "own-pin",
    ),
    well("relay port", f"proxy.example.org:9999 of {PROXY} takes connections", "DNS 0.3 ms, TCP 7.6 ms"),
    unknown("streams", "not looked at: our server is of an older version, which does not tell of them"),
    well(WAY, f"hd-1 → hd-2, behind the proxy {PROXY}"),
    well(WAY, "hd-1 may call _ping, lookup"),
    well(WAY, f"{PROXY} answered; connected to proxy.example.org:9999 and sent the token", seconds=0.0412),
    well(WAY, "speaking TLS with hd-2, end to end", seconds=0.0234),
    well(WAY, "answered a _ping", seconds=0.0119),
    well(WAY, "hd-2 is reached: version 0.1.0"),
)

AT = 1_800_000_000.0
TRACE, LATER = "4bf92f3577b34da6a3ce929d0e0e4736", "a3ce929d0e0e47364bf92f3577b34da6"

EXPORTS = (
    Export(
        "hd-1",
        TRACE,
        (
            Seen(AT + 0.0001, "hd-1", f"step 1 of 6: hd-2 is reached through the proxy {PROXY}", None, TRACE),
            Seen(AT + 0.0002, "hd-1", f"step 2 of 6: asking {PROXY} for a connection to hd-2", None, TRACE),
            Seen(
                AT + 0.0414,
                "hd-1",
                f"step 5 of 6: {PROXY} answered; connected to proxy.example.org:9999 and sent the token; by the "
                "proxy's clock hd-2 had answered after 21.5 ms, its connection had come after 19.8 ms",
                0.0412,
                TRACE,
            ),
            Seen(AT + 0.0648, "hd-1", "step 6 of 6: speaking TLS with hd-2, end to end", 0.0234, TRACE),
            Seen(AT + 0.0767, "hd-1", "local call hd-1 → hd-2._ping: ok", 0.0767, TRACE, TRACE, 0.0021, "hd-2"),
            Seen(AT + 0.9, "hd-1", "local call hd-1 → hd-2._ping: ok", 0.0117, LATER, TRACE, None, "hd-2"),
        ),
    ),
    Export(
        "hd-2",
        TRACE,
        (
            Seen(
                AT + 0.0291,
                "hd-2",
                f"step 4 of 6: connected to {PROXY} at proxy.example.org:9999 and sent the token",
                0.0081,
                TRACE,
            ),
        ),
    ),
    Export(
        f"{PROXY} (proxy)",
        TRACE,
        (
            Seen(
                AT + 0.0101,
                f"{PROXY} (proxy)",
                "step 3 of 6: made a token for hd-1 → hd-2 and asks hd-2 to connect",
                None,
                TRACE,
            ),
            Seen(
                AT + 0.0399,
                f"{PROXY} (proxy)",
                "step 6 of 6: joined hd-1 and hd-2; bytes flow both ways",
                0.0298,
                TRACE,
            ),
        ),
    ),
)

KNOWN = Known(network_directory(), "our server's verified copy, confirmed 7 minutes ago or later")


def _doctor(paper: Paper) -> str:
    return report.report("hd-1", FINDINGS, paper)


def _ping(paper: Paper) -> str:
    path = explain.way_text(way_between(KNOWN.directory, Operator("hd-1"), Operator("hd-2")), "hd-1", "hd-2")
    return ping.rendered(ping.Pinged("hd-2", path, 5, "0.1.0", (0.0767, 0.0117, 0.0121, 0.0119, 0.0123)), paper)


def _explain(paper: Paper) -> str:
    allowed = explain.explain(KNOWN, "hd-1", "hd-2", "_ping")
    denied = explain.explain(KNOWN, "hd-1", "hd-2", "lookup")
    signed = explain.Source("hd-2", "services", ANOTHER, "2026-11-22T10:00:00Z", "hd-1", FINGERPRINT)
    sources = (signed, *allowed.sources[1:])
    return "\n\n".join(explain.explained(replace(one, sources=sources), KNOWN, paper) for one in (allowed, denied))


def _trace(paper: Paper) -> str:
    return trace.timeline(EXPORTS, paper)


STEPS = (
    (1, 4, "hd-1", "hd-2 is reached through the proxy public-proxy-1.ga"),
    (2, 5, "hd-1", "asking public-proxy-1.ga for a connection to hd-2"),
    (3, 10, PROXY, "made a token for hd-1 → hd-2 and asks hd-2 to connect"),
    (4, 19, "hd-2", "connected to public-proxy-1.ga at localhost:9999 and sent the token"),
    (4, 20, PROXY, "hd-2 has connected and shown its token"),
    (5, 27, "hd-1", "public-proxy-1.ga answered; connected to localhost:9999 and sent the token"),
    (6, 28, PROXY, "joined hd-1 and hd-2; bytes flow both ways"),
    (6, 41, "hd-1", "speaking TLS with hd-2, end to end"),
)
"""Number, milliseconds after the call, who, what."""


def _demo(paper: Paper) -> str:
    out = io.StringIO()
    colours: Literal["standard"] | None = "standard" if paper.colour else None
    console = Console(file=out, width=paper.width, force_terminal=True, color_system=colours, highlight=False)
    show = Demo(Path(), console, once=True)
    show.show_steps([step_line(number, AT + at / 1000, text, who) for number, at, who, text in STEPS], AT)
    result = {"serverInfo": {"name": "hd-2", "groups": ["health-departments"], "records": [{}] * 4}, "version": "0.1.0"}
    show.show_answer(Response("1", result), 0.052)
    return out.getvalue().rstrip()


SCREENS: Mapping[str, Callable[[Paper], str]] = {
    "doctor": _doctor,
    "ping": _ping,
    "explain": _explain,
    "trace": _trace,
    "demo": _demo,
}
"""By command: the screen on a given paper."""

# In colour: a picture, since Markdown has no colours

_CODE = re.compile(r"\x1b\[([0-9;]*)m")
_COLOURS = {"31": "#c62828", "32": "#2e7d32", "33": "#b26a00", "36": "#00707a"}
_CHAR, _LINE, _MARGIN = 8.4, 18, 12
"""Pixels of a character of 14 px, of a line, and around all of it."""


def picture(name: str, width: int) -> str:
    """The screen in colour, as SVG."""
    lines = SCREENS[name](Paper(width, colour=True)).split("\n")
    across, high = round(width * _CHAR + 2 * _MARGIN), len(lines) * _LINE + 2 * _MARGIN
    rows = [f'<text x="{_MARGIN}" y="{_MARGIN + 13 + number * _LINE}">{"".join(_spans(line))}</text>'
            for number, line in enumerate(lines)]  # fmt: skip
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{across}" height="{high}" '
            'font-family="monospace" font-size="14" xml:space="preserve">',
            f'<rect width="{across}" height="{high}" rx="6" fill="#fafafa" stroke="#cccccc"/>',
            *rows,
            "</svg>\n",
        ]
    )


def _spans(line: str) -> Iterator[str]:
    styles: list[str] = []
    for number, part in enumerate(_CODE.split(line)):
        if number % 2:
            styles = [] if part == "0" else part.split(";")
        elif part:
            yield f"<tspan{_attributes(styles)}>{html.escape(part)}</tspan>"


def _attributes(styles: list[str]) -> str:
    colour = next((_COLOURS[style] for style in styles if style in _COLOURS), "#9e9e9e" if "2" in styles else "#202020")
    return f' fill="{colour}"' + (' font-weight="bold"' if "1" in styles else "")
