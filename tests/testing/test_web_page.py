"""A real browser's page calls a service, where its origin may, with the code of docs/howto-call-web.md."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from eps.service import Service
from eps.testing import Network
from support.browser import browser, needs_chromium
from support.howto import blocks_of
from support.service_tutorial import WEB_PAGE

pytestmark = [pytest.mark.chaos, needs_chromium]
pytest_plugins = ["eps.testing.fixtures"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """A web server's port, for pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.timeout(300)
async def test_a_page_of_the_right_origin_calls(eps_network: Network, tmp_path: Path) -> None:
    service = Service("places")

    @service.method
    def find(name: str) -> str:
        return f"{name} is here"

    (code,) = [one.text for one in blocks_of(WEB_PAGE) if one.marks.get("file") == "call.mjs"]
    (tmp_path / "call.mjs").write_text(code)
    (tmp_path / "page.html").write_text("<!doctype html><title>x</title>")
    eps_network.operator("hd-2", service)
    with served(tmp_path) as port:
        url = eps_network.operator("hd-1", origins=[f"http://localhost:{port}"]).url
        asked = f"""import("./call.mjs").then(async ({{ call }}) => {{
            try {{ return await call({url!r}, "hd-2.find", {{ name: "office" }}); }}
            catch (error) {{ return `${{error.name}} ${{error.executed}} ${{error.data?.reason}}`; }}
        }})"""
        async with browser() as page:
            await page.open(f"http://localhost:{port}/page.html")
            assert await page.value(asked) == "office is here"
            assert await page.value(asked.replace("hd-2.find", "hd-9.find")) == "Error no operator-unknown"
            await page.open(f"http://127.0.0.1:{port}/page.html")
            assert (await page.value(asked)).startswith("TypeError"), "another origin, so the browser does not even ask"
    assert [call.method for call in eps_network.calls] == ["find"]
