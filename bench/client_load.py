"""A load generator that is an application: with eps.client, or with the plain HTTP clients that it is compared with.

python client_load.py '{"port": …, "host": …, "ca": …, "certificate": …, "key": …}'
"""

import asyncio
import http.client
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from workers import Json, serve

from eps.client import AsyncClient, Client, Endpoint

HEADERS = {"Content-Type": "application/json"}


class Load:
    """Calls for some seconds, one way or the other."""

    def __init__(self, port: int, host: str, ca: str, certificate: str, key: str) -> None:
        url = f"https://localhost:{port}/jsonrpc"
        self._host, self._port, self._url = host, port, url
        self._endpoint = Endpoint(url, host, certificate, key, (ca,))
        self._context = ssl.create_default_context(cafile=ca)
        self._context.load_cert_chain(certificate, key)
        self._context.check_hostname = False  # http.client can't check another name than that which it dials

    def handle(self, way: str, method: str, seconds: float, callers: int) -> Json:
        if way in ("eps.client", "http.client"):
            return getattr(self, f"_{way.replace('.', '_')}")(method, seconds)
        return asyncio.run(getattr(self, f"_{way.replace('.', '_')}")(method, seconds, callers))

    def _eps_client(self, method: str, seconds: float) -> Json:
        with Client(self._endpoint) as client:
            return timed(lambda: client.call(method), seconds)

    def _http_client(self, method: str, seconds: float) -> Json:
        connection = http.client.HTTPSConnection("localhost", self._port, context=self._context)

        def call() -> Any:
            connection.request("POST", "/jsonrpc", body_of(method), HEADERS)
            return json.load(connection.getresponse())["result"]

        return timed(call, seconds)

    async def _eps_AsyncClient(self, method: str, seconds: float, callers: int) -> Json:
        async with AsyncClient(self._endpoint) as client:
            return await timed_at_once(lambda: client.call(method), seconds, callers)

    async def _aiohttp(self, method: str, seconds: float, callers: int) -> Json:
        async with aiohttp.ClientSession() as session:

            async def call() -> Any:
                more: Any = {"ssl": self._context, "server_hostname": self._host}
                async with session.post(self._url, data=body_of(method), headers=HEADERS, **more) as response:
                    return json.loads(await response.read())["result"]

            return await timed_at_once(call, seconds, callers)


def body_of(method: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": {}, "id": "1"})


def timed(call: Callable[[], Any], seconds: float) -> Json:
    call()
    begin, cpu = time.perf_counter(), time.process_time()
    calls = 0
    while time.perf_counter() - begin < seconds:
        call()
        calls += 1
    return {"calls": calls, "seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - cpu}


async def timed_at_once(call: Callable[[], Awaitable[Any]], seconds: float, callers: int) -> Json:
    await asyncio.gather(*(call() for _ in range(callers)))
    begin, cpu = time.perf_counter(), time.process_time()

    async def one() -> int:
        calls = 0
        while time.perf_counter() - begin < seconds:
            await call()
            calls += 1
        return calls

    calls = sum(await asyncio.gather(*(one() for _ in range(callers))))
    return {"calls": calls, "seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - cpu}


if __name__ == "__main__":
    serve(Load(**json.loads(sys.argv[1])).handle)
