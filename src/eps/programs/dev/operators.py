"""``eps dev add-operator`` and ``eps dev sign``: who joins the development network, as its authority sees it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509

from eps.core.exact import is_operator
from eps.errors import BadParams, StartError
from eps.pki import Authority
from eps.programs.admin.own_records import Wanted, as_file, entry_records
from eps.programs.admin.own_settings import Plan, settings_of
from eps.programs.dev.certs import AUTHORITY_KEY, NAMES, Certificates, issue
from eps.programs.dev.network import DEV, PORTS
from eps.programs.dev.ports import free_from

PROXY = "public-proxy-1.ga"
GROUP = "health-departments"
"""Who joins is reached through the network's public proxy, and is what hd-1 and hd-2 are."""

FIRST_PORTS = (8890, 5560, 2120, 6667)
"""Where the search for free ports begins: of gRPC, JSON-RPC, metrics and the operator's own service."""

MAX_NAME = 57
"""Characters of a name: with ``*.`` and ``.local`` around it, it is still one label of a DNS name, 63 at most."""


@dataclass(frozen=True, slots=True)
class Added:
    """What was made for an operator.

    Attributes:
        ports: of gRPC, JSON-RPC, metrics, and where its own service is expected.
        methods: that its records offer.
    """

    name: str
    ports: tuple[int, ...]
    methods: tuple[str, ...]


def add_operator(root: Path, name: str, methods: tuple[str, ...] = ()) -> Added:
    """Make certificates, settings and records for a new operator of the development network in ``root``.

    Raises:
        BadParams: it can't be called that.
        StartError: there is somebody of that name, no authority, or something can't be written.
    """
    dev = root / DEV
    _check_name(dev, name)
    authority = authority_of(root)
    ports = _ports(dev)
    certificates = issue(authority, name)
    role = dev / "roles" / name
    try:
        certificates.tls.write(dev / "certs", name)
        certificates.signing.write(dev / "certs", f"{name}-sign")
        (dev / "directory").mkdir(exist_ok=True)
        (dev / "directory" / f"{name}.json").write_text(as_file(entry_records(_wanted(name, certificates, methods))))
        role.mkdir()
        (role / "001_default.yml").write_text(settings_of(_plan(name, ports)))
    except OSError as error:
        raise StartError(f"can't write {error.filename}: {error.strerror}", hint="check the folder's owner") from None
    return Added(name, ports, methods)


def next_steps(added: Added) -> str:
    """What there is now, and what to type next."""
    name, (grpc, jsonrpc, metrics, service) = added.name, added.ports
    role = DEV / "roles" / name
    service_step = ""
    if added.methods:
        service_step = (
            f"\n\nStart its service at port {service}; this example can be it:\n"
            f"    python examples/locations.py {service}"
        )
    return f"""{name} can join the network:
  settings      {role}
  certificates  {DEV}/certs/{name}.crt
                {DEV}/certs/{name}-sign.crt
  records       {DEV}/directory/{name}.json
  ports         gRPC {grpc}, JSON-RPC {jsonrpc}, metrics {metrics}

With the network running (eps demo), tell the directory:
    EPS_SETTINGS={DEV}/roles/hd-1 \\
      eps sd submit-records \\
      {DEV}/directory/{name}.json

Start its server, in a shell of its own:
    EPS_SETTINGS={role} \\
      eps server run{service_step}

Then let it call, and be called:
    EPS_SETTINGS={role} \\
      eps ping hd-2
    EPS_SETTINGS={DEV}/roles/hd-1 \\
      eps {"methods" if added.methods else "ping"} {name}"""


def authority_of(root: Path) -> Authority:
    """The development network's authority.

    Raises:
        StartError: there is none, or its key was not kept.
    """
    certs = root / DEV / "certs"
    files = [certs / name for name in ("root.crt", "intermediate.crt", AUTHORITY_KEY)]
    try:
        return Authority.of(*(file.read_bytes() for file in files))
    except OSError as error:
        raise StartError(
            f"{error.filename}: {error.strerror}",
            hint="eps dev certs makes the authority and all certificates anew",
        ) from None
    except ValueError as error:
        raise StartError(f"{files[-1]}: {error}", hint="eps dev certs makes all of them anew") from None


def sign_requests(root: Path, files: list[Path], tell: Callable[[str], None]) -> None:
    """Do what an authority does: NAME.csr → NAME.crt beside it, with the names and usages that the request asks for.

    Raises:
        StartError: no authority; a file that can't be read, holds no request, or can't be written.
    """
    authority = authority_of(root)
    for file in files:
        try:
            made = authority.sign_request(x509.load_pem_x509_csr(file.read_bytes()))
            target = file.with_suffix(".crt")
            target.write_bytes(made)
        except OSError as error:
            raise StartError(f"{error.filename}: {error.strerror}") from None
        except ValueError as error:
            raise StartError(f"{file}: {error}", hint="it must hold a request for a certificate, in PEM") from None
        tell(f"signed {target}")


def _check_name(dev: Path, name: str) -> None:
    if not is_operator(name) or len(name) > MAX_NAME or name.startswith(".") or name.isdigit():
        raise BadParams(
            f"{name!r} can't be an operator's name",
            hint=f"letters, digits, hyphens and dots, {MAX_NAME} at most: clinic-9",
        )
    if name in NAMES or (dev / "roles" / name).exists() or (dev / "directory" / f"{name}.json").exists():
        raise StartError(
            f"there is a {name} already, in {dev}",
            hint=f"choose another name, or remove its files first: {dev}/roles/{name}, {dev}/directory/{name}.json",
        )


def _ports(dev: Path) -> tuple[int, ...]:
    taken = {port.number for port in PORTS}
    for file in sorted((dev / "roles").rglob("*.yml")):
        taken |= set(_ports_in(yaml.safe_load(file.read_text())))
    return tuple(next(free_from(first, taken)) for first in FIRST_PORTS)


def _ports_in(value: object) -> list[int]:
    """The ports of all addresses and URLs in settings."""
    if isinstance(value, dict):
        return [port for item in value.values() for port in _ports_in(item)]
    if isinstance(value, list):
        return [port for item in value for port in _ports_in(item)]
    text = str(value).partition("://")[2].partition("/")[0] or str(value)
    last = text.rpartition(":")[2]
    return [int(last)] if last.isdigit() else []


def _plan(name: str, ports: tuple[int, ...]) -> Plan:
    grpc, jsonrpc, metrics, service = ports
    return Plan(
        name,
        directory="https://localhost:3322/jsonrpc",
        directory_name="sd-1",
        certificates="/$DIR/../../certs",
        state_path=f".eps/{name}",
        ports=(grpc, jsonrpc, metrics),
        service=f"http://localhost:{service}/jsonrpc",
        applications=("demo-app",),
        signing=True,
    )


def _wanted(name: str, certificates: Certificates, methods: tuple[str, ...]) -> Wanted:
    return Wanted(name, (GROUP,), certificates.pins, proxy=PROXY, methods=methods)
