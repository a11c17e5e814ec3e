"""The floor of the stack: a unary gRPC call with plain grpclib at both ends, over mutual TLS, on uvloop.

python bare.py server|client '{"ca": …, "certificate": …, "key": …, "port": …}'

The server is told the answer, the client the request, both as the bytes of the messages that travel in the row beside
it. Both parse and serialise them with protobuf, as any grpclib program does, and do nothing else: no directory, no
permission, no JSON, no relay.
"""

import asyncio
import base64
import json
import ssl
import sys
import time
from typing import Any

import uvloop
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream

from eps.grpc import eps_pb2 as pb

PATH = "/EPS/Call"
CONFIGURATION = Configuration(http2_connection_window_size=8 << 20, http2_stream_window_size=1 << 20)


class Answer:
    """A service with one method and always the same answer."""

    def __init__(self) -> None:
        self.answer = pb.Response()

    def __mapping__(self) -> dict[str, Handler]:
        return {PATH: Handler(self._call, Cardinality.UNARY_UNARY, pb.Request, pb.Response)}

    async def _call(self, stream: Stream[pb.Request, pb.Response]) -> None:
        await stream.recv_message()
        await stream.send_message(self.answer)


async def read_lines() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def serve(context: ssl.SSLContext, port: int) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    service = Answer()
    server = Server([service], config=CONFIGURATION)
    await server.start("127.0.0.1", port, ssl=context)
    reader = await read_lines()
    print("{}", flush=True)
    while line := await reader.readline():
        service.answer = pb.Response.FromString(base64.b64decode(json.loads(line)["answer"]))
        print("{}", flush=True)
    server.close()
    await server.wait_closed()


class Client:
    """Calls with one connection, which all callers share, as ours do."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        context.set_alpn_protocols(["h2"])
        self._context = context
        self._port = port
        self._channel = self._connect()

    def _connect(self) -> Channel:
        return Channel("127.0.0.1", self._port, ssl=self._context, config=CONFIGURATION)

    async def run(self, request: str, callers: int, seconds: float, warm_up: float = 0.3) -> dict[str, Any]:
        message = pb.Request.FromString(base64.b64decode(request))
        call = UnaryUnaryMethod(self._channel, PATH, pb.Request, pb.Response)
        taken: list[float] = []

        async def one_after_the_other(until: float, times: list[float]) -> None:
            while (begin := time.perf_counter()) < until:
                await call(message)
                times.append(time.perf_counter() - begin)

        async def all_callers(length: float, times: list[float]) -> None:
            until = time.perf_counter() + length
            await asyncio.gather(*(one_after_the_other(until, times) for _ in range(callers)))

        await all_callers(warm_up, [])
        begin, cpu = time.perf_counter(), time.process_time()
        await all_callers(seconds, taken)
        elapsed, cpu = time.perf_counter() - begin, time.process_time() - cpu
        taken.sort()
        return {
            "calls": len(taken),
            "failed": 0,
            "seconds": elapsed,
            "median_ms": taken[len(taken) // 2] * 1000,
            "p99_ms": taken[len(taken) * 99 // 100] * 1000,
            "cpu_seconds": cpu,
        }

    async def cold(self, request: str, times: int) -> dict[str, Any]:
        """A new connection for each call."""
        message = pb.Request.FromString(base64.b64decode(request))
        taken = []
        for _ in range(times):
            begin = time.perf_counter()
            channel = self._connect()
            await UnaryUnaryMethod(channel, PATH, pb.Request, pb.Response)(message)
            taken.append((time.perf_counter() - begin) * 1000)
            channel.close()
        return {"ms": taken}

    def close(self) -> None:
        self._channel.close()


async def call(context: ssl.SSLContext, port: int) -> None:
    context.check_hostname = False
    client = Client(context, port)
    reader = await read_lines()
    while line := await reader.readline():
        question = json.loads(line)
        work = client.cold if "times" in question else client.run
        print(json.dumps(await work(**question)), flush=True)
    client.close()


async def main(role: str, ca: str, certificate: str, key: str, port: int) -> None:
    purpose = ssl.Purpose.CLIENT_AUTH if role == "server" else ssl.Purpose.SERVER_AUTH
    context = ssl.create_default_context(purpose, cafile=ca)
    context.load_cert_chain(certificate, key)
    await (serve if role == "server" else call)(context, port)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], **json.loads(sys.argv[2])))
