"""The broken networks that take long to make: clocks that are wrong, packets that are dropped, a store that was set
back, a full disk, a callee that is late.
"""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from eps.pki import Authority
from support.broken_networks import Told, Tour
from support.broken_networks_doctors import PROXY
from support.faults import late_for_the_first

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
"""Debian's libfaketime: a program's own clock, whatever the machine's says."""

DISK_BYTES = 256 * 1024

HEALTHY, LATE_SECONDS = "accept_timeout: 10", 3


def clock(offset: str) -> dict[str, str]:
    """The environment of a program whose clock is off: ``+3y``, ``-1d``."""
    return {"LD_PRELOAD": FAKETIME, "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


class LateTour(Tour):
    """Through those networks."""

    async def run(self) -> None:
        """All of them."""
        hd_1 = self.machine.dev / "roles" / "hd-1" / "001_default.yml"
        hd_1.write_text(hd_1.read_text() + "patience: 0\ncall_timeout: 25\n")
        await self.machine.ready()
        await self._the_relay_is_far()
        await self._certificates()
        await self._clocks()
        await self._the_disk_is_full()
        await self._the_store_is_set_back()

    # The relay

    async def _the_relay_is_far(self) -> None:
        port = self.machine.ports.of[9999]
        async with late_for_the_first(port, LATE_SECONDS + 1.5) as late:
            self.edit(PROXY, HEALTHY, f"accept_timeout: {LATE_SECONDS}")
            await self._through("token-expired", late)
        with swallows(held=1) as silent:
            await self._through("relay-dropped-a", silent)
        with swallows(held=0) as silent:
            await self._through("relay-dropped-b", silent)
        await self.restarted(PROXY, "hd-1", "hd-2")
        await self.machine.until_ping(60)

    async def _through(self, name: str, port: int) -> None:
        """A call where the proxy names another port for its relay."""
        healthy = f"internal_endpoint: localhost:{self.machine.ports.of[9999]}"
        self.edit(PROXY, healthy, f"internal_endpoint: localhost:{port}")
        for role in ("hd-1", "hd-2"):
            server = "    type: grpc_server\n    settings:\n"
            self.edit(role, server, f"{server}      internal_endpoints: [localhost:{port}]\n")
        await self.restarted(PROXY, "hd-1", "hd-2")
        await self.call(name)
        self.mend()

    # Certificates and clocks

    async def _certificates(self) -> None:
        certs, now = self.machine.dev / "certs", datetime.now(UTC)
        for name, before, after in (
            ("own-expired-start", timedelta(days=-10), timedelta(days=-1)),
            ("own-expires-running", timedelta(days=-10), timedelta(days=19, hours=12)),
        ):
            issued = Authority.create(fast=True).issue_tls("hd-1", not_before=now + before, not_after=now + after)
            issued.write(certs, name)
            self.edit("hd-1", "certs/hd-1.", f"certs/{name}.", file="002*")
            await self.machine.stop("hd-1")
            if name == "own-expired-start":
                await self.start_fails(name)
                self.mend()
                await self.machine.start("hd-1")
            else:
                process = await self.machine.launch("hd-1")
                await process.up()
                await self.logged(name, process, kind="notice", text="expires in 19 days")
                self.mend()
        await self.restarted("hd-1")

    async def _clocks(self) -> None:
        await self.machine.stop("hd-1")
        for name, offset in (("clock-ahead", "+3y"), ("clock-behind", "-1d")):
            await self.start_fails(name, **clock(offset))
        await self.restarted("hd-1")
        record = {"name": "hd-2", "section": "groups", "data": ["health-departments"]}
        file = self.machine.folder / "ahead.json"
        file.write_text('{"records": [' + str(record).replace("'", '"') + "]}")
        done = await self.machine.run("eps", "sd", "submit-records", str(file), **clock("+1h"))
        assert done.code != 0, done
        reason = "record-ahead" if "ahead" in done.err else ""
        told = Told("command", done.err, "directory", "ours", "not_sent", reason)
        await self.note("signer-clock-ahead", told, **clock("+1h"))

    # The disk, and the store

    async def _the_disk_is_full(self) -> None:
        with disk(self.machine.folder / "disk") as folder:
            self.edit("hd-1", "state_path: .eps/hd-1", f"state_path: {folder}/state")
            filler = folder / "filler"
            with contextlib.suppress(OSError), filler.open("wb") as stream:
                stream.write(b"x" * DISK_BYTES)
            await self.machine.stop("hd-1")
            await self.machine.start("hd-1")
            hd_1 = self.machine.processes["hd-1"]
            await self.logged("state-disk-full", hd_1, kind="notice", text="the directory cache")
            await hd_1.wait_for(kind="directory")
            assert (await self.machine.ping()).error is None, "calls go on"
            filler.unlink()
            await hd_1.wait_for(text="is written again, whole")
            self.mend()
            await self.restarted("hd-1")

    async def _the_store_is_set_back(self) -> None:
        store = self.machine.folder / ".eps" / "sd-1"
        await self.machine.stop("sd-1")
        copy = {file: file.read_bytes() for file in store.glob("records.sqlite*")}
        await self.machine.start("sd-1")
        record = {"name": "hd-2", "section": "groups", "data": ["health-departments", "new"]}
        assert (await self.machine.submit([record])).code == 0
        hd_1 = self.machine.processes["hd-1"]
        await hd_1.wait_for(kind="directory", records=31)
        await self.machine.stop("sd-1")
        for file in store.glob("records.sqlite*"):
            file.unlink()
        for file, content in copy.items():
            file.write_bytes(content)
        await self.machine.start("sd-1")
        await self.machine.processes["sd-1"].wait_for(level="error", text="is not what it was")
        await self.logged("sd-set-back", hd_1, side="directory", kind="directory_failed", detail="not believed")
        done = await self.machine.submit([record])
        assert done.code != 0 and "set back" in done.err, done


@contextlib.contextmanager
def swallows(held: int) -> Iterator[int]:
    """A port where nothing is accepted, and room for ``held`` connections that seem to be."""
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(0 if held else 2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield int(full.getsockname()[1])


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0777", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
