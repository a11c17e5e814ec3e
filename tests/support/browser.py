"""Debian's Chromium, headless, over its DevTools protocol: pages as people and screen readers have them."""

import asyncio
import base64
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import axe_core_python
import pytest

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")

AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()

SECONDS = 60.0
"""For whatever a browser on a loaded machine does."""


class Page:
    """One tab.

    Attributes:
        complaints: what its console has said of warnings and errors.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.complaints: list[str] = []

    async def send(self, method: str, **params: Any) -> Any:
        """A command of the protocol; its result."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(SECONDS):
            return await answer

    async def read(self) -> None:
        """Take what comes, until the tab is closed."""
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._waiting.pop(told["id"]).set_result(told.get("result", told))
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["params"]["exceptionDetails"]))
            elif told["method"] == "Log.entryAdded" and told["params"]["entry"]["level"] in ("warning", "error"):
                self.complaints.append(told["params"]["entry"]["text"])
            elif told["method"] == "Runtime.consoleAPICalled" and told["params"]["type"] in ("warning", "error"):
                self.complaints.append(json.dumps(told["params"]["args"]))

    async def value(self, script: str) -> Any:
        """What JavaScript makes of it; a promise is awaited."""
        done = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value") if "result" in done else None  # the page went away meanwhile

    async def until(self, script: str) -> None:
        """Wait until it is so."""
        async with asyncio.timeout(SECONDS):
            while not await self.value(script):
                await asyncio.sleep(0.02)

    async def show(self, width: int, *, dark: bool) -> None:
        """As a screen of that width has it."""
        await self.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
                        mobile=width < 600)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def open(self, url: str) -> None:
        """Go there, and wait until the page before is gone."""
        await self.value("window.isPageBefore = true")
        await self.send("Page.navigate", url=url)
        await self.until(f"location.href === {json.dumps(url)} && !window.isPageBefore")

    async def picture(self, file: Path) -> None:
        """The whole page, as PNG."""
        size = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = await self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """A browser with one tab; ended with all that it has started."""
    with tempfile.TemporaryDirectory(prefix="eps-chromium-", ignore_cleanup_errors=True) as folder:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   "--disable-background-networking", "--disable-component-update", "--disable-sync",
                   "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            "chromium", *options, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "HOME": folder}, start_new_session=True,
        )  # fmt: skip
        try:
            async with aiohttp.ClientSession() as session:
                url = await _tab(session, Path(folder))
                socket = await session.ws_connect(url, max_msg_size=0)
                page = Page(socket)
                reading = asyncio.create_task(page.read())
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.send(f"{domain}.enable")
                try:
                    yield page
                finally:
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
                    await socket.close()
        finally:
            os.killpg(process.pid, 9)
            await process.wait()


async def _tab(session: aiohttp.ClientSession, folder: Path) -> str:
    """Where the tab's commands are taken, once the browser has told."""
    told = folder / "DevToolsActivePort"
    async with asyncio.timeout(SECONDS):
        while not (told.exists() and "\n" in told.read_text()):
            await asyncio.sleep(0.02)
        port = told.read_text().split("\n")[0]
        while True:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                tabs = [tab for tab in await answer.json() if tab["type"] == "page"]
            if tabs:
                return str(tabs[0]["webSocketDebuggerUrl"])
            await asyncio.sleep(0.02)


async def axe(page: Page) -> list[object]:
    """What axe finds wrong, each with where it is."""
    await page.value(AXE + "; 1")
    script = "axe.run().then(r => r.violations.map(v => [v.id, v.help, v.nodes.map(n => n.html.slice(0, 200))]))"
    found = await page.value(script)
    assert isinstance(found, list)
    return found
