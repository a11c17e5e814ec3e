"""The status page as people have it: in Debian's Chromium, at a phone's and at a desk's width, light and dark."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eps.core.event import (
    AuditLinesLost,
    CallFinished,
    DirectoryChanged,
    DirectoryConfirmed,
    Event,
    PeerChanged,
    Started,
    TunnelFinished,
)
from eps.core.names import Object
from eps.jsonrpc.callers import Callers
from eps.programs.running.metrics import Metrics
from eps.programs.running.tally import Numbers
from eps.programs.status.server import StatusServer
from support.browser import Page, axe, browser, needs_chromium
from support.testing import Events

pytestmark = needs_chromium

SCREENS = [(width, dark) for width in (375, 1440) for dark in (False, True)]

EPS: Object = {
    "peers": [
        {"name": "public-proxy-1.ga", "way": "direct", "via": "", "groups": ["proxy-providers"], "stream": "up"},
        {"name": "hd-2", "way": "proxy", "via": "public-proxy-1.ga", "groups": ["health-departments"]},
        {"name": "hd-3", "way": "direct", "via": "", "groups": [], "stream": "down"},
        {"name": "nobody-" + "x" * 190, "way": "none", "via": "", "groups": ["a" * 200]},
    ]
}
PROXY: Object = {
    "tunnels": [{"id": "a", "caller": "hd-1", "callee": "hd-2", "age": 90, "idle": 1, "bytes": [5_000_000, 200]},
                {"id": "b", "caller": "", "callee": "", "age": 1, "idle": 1, "bytes": [1, 2]}],
    "announcements": [{"domain": "a.example", "operator": "private-proxy-1.ga"}],
}  # fmt: skip
SD: Object = {
    "operators": [
        {"name": name, "groups": ["g"], "reached": "directly", "via": via, "certificates": 2}
        for name, via in (("public-proxy-1.ga", ""), ("hd-1", "public-proxy-1.ga"), ("op-1", ""))
    ],
    "changes": [{"at": 1.8e9, "operator": "hd-1", "section": "groups", "signed_by": "admin", "root": True,
                 "lines": ["- old", "+ <b>new</b>"], "more": 3}],
}  # fmt: skip


def call(outcome: str = "ok", **more: object) -> CallFinished:
    given = {"direction": "local", "sender": "hd-1", "recipient": "hd-2", "method": "<i>f</i>", "outcome": outcome}
    return CallFinished(**{**given, "seconds": 0.02, **more})  # type: ignore[arg-type]


EVENTS: tuple[Event, ...] = (
    Started(name="hd-1", listening=("gRPC localhost:8888",)),
    PeerChanged(link="direct", peer="public-proxy-1.ga", up=True),
    PeerChanged(link="tunnel", peer="hd-2", up=True),
    DirectoryChanged(records=30, operators=10, tip="x", source="y"),
    call(),
    call("not_sent", stage="relay", reason="no-tunnel", code=500),
    call("unknown", stage="call", reason="no-answer", code=500),
    call("error", direction="incoming", sender="hd-3", fault="application", stage="call", code=7),
    TunnelFinished(outcome="request_failed", seconds=1, caller="hd-1", callee="hd-2", reason="peer-hangs"),
    TunnelFinished(outcome="finished", seconds=100, caller="hd-1", callee="hd-2", first_bytes=10**7),
)


class Shown:
    """A page and the server behind it, which can be restarted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.metrics = Metrics()
        self._server: StatusServer | None = None
        self._address = "localhost:0"

    async def serve(self, program: str, picture: Object, numbers: Numbers | None = None) -> None:
        """Begin anew, as a process that was restarted does: at the same port."""
        await self.end()
        self.metrics = Metrics()
        self.metrics.standing.belongs_to(program, lambda: picture)
        self.metrics._standing = lambda: numbers or {}
        self.metrics.expire({"channels[0].settings.tls.certificate_file": time.time() + 86_400 * 12, "signing": 2e9})
        self._server = StatusServer(self._address, self.metrics.standing, None, Callers(), Events())
        await self._server.start()
        self._address = f"localhost:{self._server.addresses[0][1]}"

    async def open(self) -> None:
        await self.page.open(f"http://{self._address}/")
        await self.page.until("document.querySelector('#live')?.textContent === 'live'")

    async def end(self) -> None:
        if self._server is not None:
            await self._server.close()
            self._server = None


@asynccontextmanager
async def a_page() -> AsyncIterator[Shown]:
    async with browser() as page:
        made = Shown(page)
        try:
            yield made
        finally:
            await made.end()


async def test_it_is_readable_for_everybody_on_every_screen() -> None:
    async with a_page() as shown:
        page = shown.page
        for program, picture in (("eps", EPS), ("public-proxy", PROXY), ("sd", SD)):
            await page.open("about:blank")  # else it would notice that its server ends
            await shown.serve(program, picture, {"eps_tunnels_open": {(): 7000}, "eps_tunnels_limit": {(): 8192}})
            for event in EVENTS:
                shown.metrics(event)
            for width, dark in SCREENS:
                await page.show(width, dark=dark)
                await shown.open()
                where = f"{program} at {width}, {'dark' if dark else 'light'}"
                assert await axe(page) == [], where
                assert await page.value("document.documentElement.scrollWidth <= innerWidth"), where
        assert page.complaints == []


async def test_it_says_first_what_is_wrong() -> None:
    async with a_page() as shown:
        await shown.serve("eps", EPS, {"eps_audit_failing": {(): 1.0}})
        for event in (*EVENTS, AuditLinesLost(lines=2)):
            shown.metrics(event)
        await shown.open()
        page = shown.page
        told = await page.value("document.querySelector('#verdict').innerText")
        for words in ("No stream to hd-3", "No directory yet", "A certificate ends in 12 days", "Of 1 call nobody",
                      "The audit log can't be written", "2 calls have no line in the audit log"):  # fmt: skip
            assert words in told
        assert "All is well" not in told
        shown.metrics(DirectoryConfirmed(at=time.time(), date=""))
        await page.until("!document.querySelector('#verdict').innerText.includes('No directory yet')")
        assert "⚠" in await page.value("document.title")
        assert await page.value("document.querySelector('#calls table').innerText.includes('<i>f</i>')"), "it is text"
        assert "relay · no-tunnel · code 500" in await page.value("document.querySelector('#calls').innerText")
        label = await page.value("document.querySelector('#network svg').getAttribute('aria-label')")
        assert "1 that should be and are not" in label
        assert page.complaints == []


async def test_a_call_appears_at_once_and_a_restart_is_noticed() -> None:
    async with a_page() as shown:
        page = shown.page
        await shown.serve("eps", EPS)
        await shown.open()
        assert await page.value("document.querySelector('#calls').innerText.includes('None yet')")
        shown.metrics(call(recipient="clinic-9"))
        began = time.monotonic()
        await page.until("document.querySelector('#calls').innerText.includes('clinic-9')")
        appeared = time.monotonic() - began
        await shown.end()
        await page.until("document.querySelector('#live').textContent !== 'live'")
        await shown.serve("eps", EPS)
        shown.metrics(Started(name="hd-1 again"))
        began = time.monotonic()
        await page.until("document.querySelector('#live').textContent === 'live'")
        reconnected = time.monotonic() - began
        await page.until("document.querySelector('h1').textContent === 'hd-1 again'")
        assert await page.value("document.querySelector('#calls').innerText.includes('None yet')")
        print(f"\na call appeared after {appeared:.2f} s, the page was live {reconnected:.2f} s after the restart")
        assert appeared < 10 and reconnected < 50  # ten times what it takes; what is promised: 1 s and 5 s
        assert [one for one in page.complaints if "ERR_CONNECTION_REFUSED" not in one] == []


@pytest.mark.skipif(not os.environ.get("EPS_PICTURES"), reason="make docs wants them")
async def test_pictures_for_the_documentation() -> None:
    folder = Path(os.environ["EPS_PICTURES"])
    folder.mkdir(parents=True, exist_ok=True)
    async with a_page() as shown:
        await shown.serve("eps", EPS)
        for event in EVENTS:
            shown.metrics(event)
        for width, dark in SCREENS:
            await shown.page.show(width, dark=dark)
            await shown.open()
            await shown.page.until("document.querySelector('table') !== null")
            await shown.page.picture(folder / f"status-{width}-{'dark' if dark else 'light'}.png")
    assert len(list(folder.glob("*.png"))) == len(SCREENS)
