"""Child processes of the benchmark: one JSON object per line in, one per line out; and what processes cost."""

import asyncio
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ANSWER_SECONDS = 120.0
LINE_LIMIT = 1 << 22
Json = dict[str, Any]
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Worker:
    """A script of this folder that answers each line on its standard input with a line on its standard output.

    async with Worker("load.py", …) as load:
        result = await load.ask(seconds=2.0)
    """

    def __init__(self, script: str, *arguments: str, user: int | None = None) -> None:
        self._command = (sys.executable, str(HERE / script), *arguments)
        self._user = user
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Worker":
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            user=self._user,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(5.0):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def ask(self, **question: Any) -> dict[str, Any]:
        """Send a line, wait for the answering one."""
        await self.tell(**question)
        return await self.hear()

    async def tell(self, **question: Any) -> None:
        """Send a line."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self) -> dict[str, Any]:
        """The next line."""
        assert self._process is not None and self._process.stdout is not None
        async with asyncio.timeout(ANSWER_SECONDS):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._command[1]} has ended; its last words are above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def serve(handle: Any) -> None:
    """The worker's side: answer each line of standard input with what ``handle(**line)`` returns."""
    for line in sys.stdin:
        print(json.dumps(handle(**json.loads(line))), flush=True)


def http_length(message: bytes | bytearray) -> int:
    """The length of the whole HTTP message that begins here; -1 while its headers are not all there."""
    end = message.find(b"\r\n\r\n")
    if end < 0:
        return -1
    head = message[:end].lower()
    begin = head.index(b"content-length:") + 15
    return end + 4 + int(head[begin:].split(b"\r", 1)[0])


def allow_many_files() -> None:
    """Thousands of connections are thousands of open files."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, in seconds (steps of 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_bytes(pid: int) -> int:
    """The memory that a process has for itself: anonymous pages, without shared libraries."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * PAGE


class CpuShares:
    """CPU time of some processes over a stretch of time, each as a share of one core."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._begun = {name: cpu_seconds(pid) for name, pid in pids.items()}

    def seconds(self) -> dict[str, float]:
        """What each has used since this object was made."""
        return {name: cpu_seconds(pid) - self._begun[name] for name, pid in self._pids.items()}
