"""Record what TLS clients send first, from the clients on this machine: writes ``hellos.jsonl`` beside this file.

    .venv/bin/python tests/vectors/hellos/record.py [--only WORD]

Each client talks, on loopback, through a relay of ours to ``openssl s_server``. The relay keeps what the client sends
until the server's first byte. Real handshakes, so that clients come back with tickets and early data. Clients that are
not installed are left out, and said so; the options that make the difference stand in each line.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent.parent))

import clients  # noqa: E402 - the path comes first

from support import hellos  # noqa: E402

LIMIT = 20.0
"""Seconds for one run of one client."""

KEPT_BEHIND = 64
"""Bytes of early data that are kept."""


class Relay:
    """Forwards to the server, and keeps what each client sends before the server's first byte."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.flights: list[bytes] = []
        self.open: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self.begin, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(asyncio.create_task(self.serve(reader, writer)))

    async def finish(self) -> None:
        """Let the last connections end."""
        if self.open:
            _, late = await asyncio.wait(self.open, timeout=1)
            for task in late:
                task.cancel()
            await asyncio.gather(*self.open, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flight, answered = bytearray(), asyncio.Event()
        with contextlib.suppress(OSError):
            back, forth = await asyncio.open_connection("127.0.0.1", self.server_port)
            copying = asyncio.create_task(self.copy(back, writer, None, answered))
            try:
                await self.copy(reader, forth, flight, answered)
                await copying
            finally:
                copying.cancel()
                forth.close()
                writer.close()
                self.flights.append(bytes(flight))

    async def copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        kept: bytearray | None,
        answered: asyncio.Event,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if kept is None:
                    answered.set()
                elif not answered.is_set():
                    kept += data
                writer.write(data)
                await writer.drain()
            writer.write_eof()


async def one_run(relay: Relay, port: int, command: Sequence[str], folder: Path) -> list[bytes]:
    relay.flights.clear()
    profile = tempfile.mkdtemp(dir=folder)
    words = [
        word.replace("PORT", str(port))
        .replace("SESSION", str(folder / "session"))
        .replace("EARLY", str(folder / "early"))
        .replace("FOLDER", profile)
        .replace("DIRECTORY", str(folder))
        for word in command
    ]
    for file, source in (("hello.go", clients.GO), ("Hello.java", clients.JAVA)):
        (folder / file).write_text(source.replace("PORT", str(port)))
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder), "GOTOOLCHAIN": "local"},
    )
    try:
        await asyncio.wait_for(process.communicate(b"GET / HTTP/1.0\r\n\r\n"), LIMIT)
    except TimeoutError:
        process.kill()
        await process.wait()
    await relay.finish()
    return list(relay.flights)


def shown(command: Sequence[str]) -> str:
    """The command line without what differs from machine to machine."""
    words = ["…" if "\n" in word else Path(word).name if word.startswith("/") else word for word in command]
    script = next((word for word in command if "\n" in word), "")
    settings = re.findall(r"^context\..*|servername: .*(?=\})", script, re.MULTILINE)
    return " ".join([word if len(word) < 200 else word[:200] + "…" for word in words] + settings)[:400]


def row(version: str, run: clients.Run, flight: bytes) -> dict[str, object]:
    size = len(hellos.records(hellos.unframed(flight)))  # none of these clients cuts its hello
    name = run.name.lower().removesuffix(".")
    line: dict[str, object] = {"client": version, "how": shown(run.command), "name": name, "size": size}
    if run.refused:
        line["refused"] = run.refused
    return line | {"hex": flight[: size + KEPT_BEHIND].hex()}


def generated(number: int) -> list[dict[str, object]]:
    """Hellos made at random, each of which OpenSSL reads, too."""
    rng = Random(20261122)
    rows: list[dict[str, object]] = []
    while len(rows) < number:
        stream, name = hellos.random_hello(rng)
        if hellos.openssl_server_name(stream) == name:
            rows.append(
                {"client": "generated", "how": f"random {len(rows)}", "name": name.lower(), "size": len(stream)}
                | {"hex": stream.hex()}
            )
    return rows


@contextlib.asynccontextmanager
async def s_server(folder: Path, *options: str) -> AsyncIterator[int]:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=recorder", "-keyout", str(key)]
    subprocess.run([*new, "-out", str(certificate)], check=True, capture_output=True)
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", str(certificate), "-key", str(key)),
        *("-cipher", "ALL:@SECLEVEL=0", *options),
        stdin=subprocess.PIPE,  # stays open: it would end with it
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    reading = None
    try:
        while not (line := await process.stdout.readline()).startswith(b"ACCEPT"):
            if not line:
                raise SystemExit("openssl s_server does not start")
        reading = asyncio.create_task(process.stdout.read())
        yield int(line.decode().rsplit(":", 1)[1])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if reading is not None:
            await reading


async def record(only: str, interpreter: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        (folder / "early").write_bytes(b"GET / HTTP/1.0\r\n\r\n")
        runs = clients.all_runs(interpreter)
        versions = {name: clients.version_of(name, interpreter) for name in {run.client for run in runs}}
        print("not here:", *sorted(client for client, version in versions.items() if not version))
        early = s_server(folder, "-early_data", "-max_early_data", "16384", "-no_anti_replay")
        async with s_server(folder, "-www") as plain_port, early as early_port:
            for run in runs:
                if not versions[run.client] or only not in run.client:
                    continue
                relay = Relay(early_port if "EARLY" in " ".join(run.command) else plain_port)
                async with relay.listening() as port:
                    flights = await one_run(relay, port, run.command, folder)
                print(f"{len(flights)} from {shown(run.command)[:150]}", flush=True)
                kept = [flight for flight in flights if flight[:1] == b"\x16"]
                rows += [row(versions[run.client], run, flight) for flight in kept[:6]]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="", help="record just these clients, and print instead of writing")
    parser.add_argument("--generated", type=int, default=80, help="how many made-up hellos to add")
    parser.add_argument("--pyopenssl", default=sys.executable, help="a Python that has pyOpenSSL, for a newer OpenSSL")
    arguments = parser.parse_args()
    rows = asyncio.run(record(arguments.only, arguments.pyopenssl))
    if not arguments.only:
        rows += generated(arguments.generated)
        hellos.CORPUS.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in rows))
    print(len(rows), "hellos")


if __name__ == "__main__":
    main()
