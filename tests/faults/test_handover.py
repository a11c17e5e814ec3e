"""The listening sockets outlive the program: kept by systemd, or handed from one process to the next."""

import asyncio
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from support.application import Application
from support.load import load
from support.machine import Machine, Process, shell_environment

PROXY = "public-proxy-1.ga"

START = """
import os, sys
count = int(sys.argv[1])
for index in range(count):  # the descriptors behind ours, to where systemd has them
    os.dup2(int(sys.argv[2 + index]), 3 + index, inheritable=True)
os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), str(count)
os.execvp(sys.argv[2 + count], sys.argv[2 + count:])
"""
"""What systemd does before it starts a program with sockets."""


def listen(port: int, host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(1024)
    return sock


async def start_activated(machine: Machine, role: str, sockets: list[socket.socket], **environment: str) -> Process:
    """Start a role's server as systemd does with these sockets."""
    high = [os.dup(sock.fileno()) for sock in sockets]
    command = ["eps", "--format", "json", "--level", "debug", "server", "run"]
    arguments = [sys.executable, "-c", START, str(len(high)), *map(str, high), *command]
    made = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=machine.folder,
        env=shell_environment(**{**machine.environment(role), **environment}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=high,
        limit=1 << 20,
    )
    for descriptor in high:
        os.close(descriptor)
    machine.processes[role] = Process(role, made)
    await machine.processes[role].up()
    return machine.processes[role]


async def test_sockets_of_systemd_are_used_and_outlive_the_program(machine: Machine) -> None:
    ports = machine.ports.of
    sockets = [listen(ports[port]) for port in (8888, 5555, 2112)]
    stranger = listen(0)
    process = await start_activated(machine, "hd-1", [*sockets, stranger])
    unused = await process.wait_for(level="warn", text="no setting says to listen at")
    assert str(stranger.getsockname()[1]) in unused["text"]
    assert sum("was handed over" in line.get("text", "") for line in process.lines) == 1
    assert (await machine.call("hd-1._ping")).error is not None  # answered: there is no directory yet
    assert await machine.stop("hd-1") == 0
    with socket.create_connection(("127.0.0.1", ports[5555]), 5):
        pass  # nobody runs, and nobody is refused
    await start_activated(machine, "hd-1", sockets)
    assert (await machine.call("hd-1._ping")).error is not None
    for sock in (*sockets, stranger):
        sock.close()


async def test_systemd_is_given_the_sockets_to_keep(machine: Machine, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        await machine.launch("hd-1", NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000")
        await machine.processes["hd-1"].up()
        kept: dict[str, list[socket.socket]] = {}
        told = ""
        while told != "READY=1":
            message, descriptors, _, _ = socket.recv_fds(systemd, 1024, 4)
            told = message.decode()
            if descriptors:
                assert told.startswith("FDSTORE=1\nFDNAME=")
                kept.setdefault(told.partition("FDNAME=")[2], []).append(socket.socket(fileno=descriptors[0]))
        async with asyncio.timeout(60):
            assert await asyncio.get_running_loop().sock_recv(systemd, 1024) == b"WATCHDOG=1"
        assert set(kept) == {"grpc", "jsonrpc", "metrics", "status"}
        ports = {name: {sock.getsockname()[1] for sock in sockets} for name, sockets in kept.items()}
        expected = {"grpc": 8888, "jsonrpc": 5555, "metrics": 2112, "status": 2132}
        assert ports == {name: {machine.ports.of[port]} for name, port in expected.items()}
        for sockets in kept.values():
            for sock in sockets:
                sock.close()


@pytest.mark.parametrize(
    "role",
    [
        "hd-1",
        "public-proxy-1",
        *(pytest.param(role, marks=pytest.mark.chaos) for role in ("hd-2", "sd-1", "public-proxy-eps-1")),
    ],
)
async def test_no_call_fails_while_a_process_takes_anothers_place(machine: Machine, role: str) -> None:
    """Neither those through a tunnel, nor those over the stream that hd-2 holds to the proxy's operator."""
    async with Application(seconds=0.1) as application:
        application.serve(machine, everybody=True)
        await machine.ready()
        async with load(machine, 4) as book, load(machine, 4, operator=PROXY, prefix="held-") as held:
            await book.more(20)
            for _ in range(2):
                await machine.take_over(role)
                await book.more(20)
                await held.more(20)
    book.add(held)
    book.balance(application)
    assert not book.failed


async def test_no_connection_is_refused(machine: Machine) -> None:
    """An application that opens a connection for each call: each is accepted, and answered."""
    port = machine.ports.of[5555]
    await machine.start("hd-1")
    over, connected = asyncio.Event(), 0

    async def connect_on() -> None:
        nonlocal connected
        while not over.is_set():
            _, writer = await asyncio.open_connection("localhost", port)
            writer.close()
            connected += 1

    connecting = asyncio.create_task(connect_on())
    await machine.take_over("hd-1")
    over.set()
    await connecting
    assert connected > 10


async def test_one_that_cannot_start_leaves_the_other_as_it_was(machine: Machine) -> None:
    await machine.start("sd-1")
    records = await machine.setup_directory()
    assert records.code == 0
    old = machine.processes["sd-1"]
    with listen(0) as taken:
        override = machine.dev / "roles" / "sd-1" / "009_metrics.yml"
        override.write_text(f"metrics: {{bind_address: 'localhost:{taken.getsockname()[1]}'}}")
        failed = await machine.run("sd", "run", "--take-over", role="sd-1")
        override.unlink()
    assert failed.code == 2
    assert "another program uses that port" in failed.err
    await old.wait_for(level="warn", text="this one goes on as before")
    assert (await machine.setup_directory()).code == 0  # its store is its own again
    assert old.running


async def test_the_first_of_all_starts_as_ever(machine: Machine) -> None:
    process = await machine.spawn("hd-1", "eps", "--format", "json", "server", "run", "--take-over")
    machine.processes["hd-1"] = process
    await process.up()
    await process.wait_for(text="no process runs whose place could be taken")
    sockets = list((machine.folder / ".eps" / "hd-1").glob("*.control"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in sockets] == [0o600]
    assert await machine.stop("hd-1") == 0
    assert not sockets[0].exists()


async def test_a_link_in_the_place_of_the_socket_is_not_followed(machine: Machine) -> None:
    state = machine.folder / ".eps" / "hd-1"
    state.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as elsewhere:
        elsewhere.bind(str(machine.folder / "elsewhere"))
        elsewhere.listen()
        (state / "eps.control").symlink_to(machine.folder / "elsewhere")
        done = await machine.run("eps", "server", "run", "--take-over")
    assert done.code == 2
    assert "is no socket" in done.err
