"""The development network of PROTOCOL.md section 1: its programs, ports and files, for ``eps demo`` and tests."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from eps.jsonrpc.client import JsonRpcClient
from eps.programs.admin import commands as admin
from eps.programs.admin.records import submit_records
from eps.programs.dev.processes import Program
from eps.programs.wiring.parts import now
from eps.transport.tls import TlsFiles

DEV = Path("settings/dev")
"""The development network's settings, relative to the repository's root."""


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port on localhost that a program of the network needs."""

    number: int
    program: str


PORTS = (
    Port(3322, "sd-1"),
    Port(2114, "sd-1"),
    Port(2134, "sd-1"),
    Port(8888, "hd-1"),
    Port(5555, "hd-1"),
    Port(2112, "hd-1"),
    Port(2132, "hd-1"),
    Port(8889, "hd-2"),
    Port(3334, "hd-2"),
    Port(2113, "hd-2"),
    Port(2133, "hd-2"),
    Port(5556, "public-proxy-eps-1"),
    Port(5544, "public-proxy-eps-1"),
    Port(2117, "public-proxy-eps-1"),
    Port(2137, "public-proxy-eps-1"),
    Port(4433, "public-proxy-1"),
    Port(9999, "public-proxy-1"),
    Port(6655, "public-proxy-1"),
    Port(2115, "public-proxy-1"),
    Port(2135, "public-proxy-1"),
    Port(7776, "private-proxy-eps-1"),
    Port(7766, "private-proxy-eps-1"),
    Port(2118, "private-proxy-eps-1"),
    Port(2138, "private-proxy-eps-1"),
    Port(8877, "private-proxy-1"),
    Port(2116, "private-proxy-1"),
    Port(2136, "private-proxy-1"),
    Port(7777, "internal-server"),
)


def _program(role: str, program: str, *command: str) -> Program:
    arguments = (f"eps.programs.{program}", "--format", "json", "--level", "debug", *command)
    return Program(role, arguments, {f"{program.upper()}_SETTINGS": str(DEV / "roles" / role)})


PROGRAMS = (
    _program("sd-1", "sd", "run"),
    _program("public-proxy-1", "proxy", "run", "public"),
    _program("public-proxy-eps-1", "eps", "server", "run"),
    _program("hd-1", "eps", "server", "run"),
    _program("hd-2", "eps", "server", "run"),
)

PASSTHROUGH_PROGRAMS = (
    _program("private-proxy-eps-1", "eps", "server", "run"),
    _program("private-proxy-1", "proxy", "run", "private"),
    _program("internal-server", "eps", "dev", "internal-server"),
)
"""What TLS passthrough needs besides: a private proxy, its EPS server, and a server behind them."""

JSONRPC_PORTS = {"hd-1": 5555, "hd-2": 3334}

STATUS_PORTS = {"hd-1": 2132, "hd-2": 2133, "public-proxy-1": 2135, "sd-1": 2134, "private-proxy-1": 2136}
"""Where the pages are that ``eps demo`` names."""

INTERNAL_DOMAIN = "test.internal-server.local"
TLS_PORT = 4433
"""Where TLS clients reach the public proxy."""


def client_files(root: Path, name: str, server_name: str) -> TlsFiles:
    """TLS for an application of operator ``name`` that calls ``server_name``."""
    certs = root / DEV / "certs"
    return TlsFiles(
        ca_certificate_files=(str(certs / "root.crt"),),
        certificate_file=str(certs / f"{name}.crt"),
        key_file=str(certs / f"{name}.key"),
        server_name=server_name,
    )


@asynccontextmanager
async def application_of(root: Path, operator: str) -> AsyncIterator[JsonRpcClient]:
    """What an application of ``operator`` has: a client for its server's JSON-RPC port."""
    endpoint = f"https://localhost:{JSONRPC_PORTS[operator]}/jsonrpc"
    client = JsonRpcClient(endpoint, tls=client_files(root, operator, operator), server_name=operator)
    try:
        yield client
    finally:
        await client.close()


async def setup_directory(root: Path, more: Sequence[Path] = ()) -> int:
    """Sign and submit the development network's directory, as ``make sd-setup`` does, and then the records of other
    files; the number of records."""
    settings = admin.own_settings({"EPS_SETTINGS": str(DEV / "roles" / "hd-1")}, root)
    signer = admin.signer_of(settings)
    async with admin.directory_of(settings, wait=30.0) as calls:
        files = [root / DEV / "directory"]
        count = (await submit_records(files, reset=True, signer=signer, calls=calls, now=now)).count
        if more:
            count += (await submit_records(list(more), reset=False, signer=signer, calls=calls, now=now)).count
    return count
