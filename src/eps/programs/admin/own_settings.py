"""The settings file of an operator that joins: ``eps operator init``, ``eps dev add-operator``."""

import json
import re
from dataclasses import dataclass

import yaml

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9.-]*")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a new operator's settings say.

    Attributes:
        name: the operator's.
        certificates: folder of certificates, as settings name it: ``$DIR`` is the one of the settings file.
        directory: URL of the service directory's JSON-RPC server.
        directory_name: the name in its certificate; empty: the URL's host.
        state_path: where the server keeps its state; empty: the default.
        ports: of gRPC, of JSON-RPC for our applications, of metrics.
        service: URL of our own service; empty: we offer none.
        applications: names in the certificates of our applications.
        signing: whether there is a certificate to sign with.
    """

    name: str
    directory: str
    directory_name: str = ""
    certificates: str = "$DIR"
    state_path: str = ""
    ports: tuple[int, int, int] = (4444, 5555, 2112)
    service: str = ""
    applications: tuple[str, ...] = ()
    signing: bool = False


def settings_of(plan: Plan) -> str:
    """The text of the settings file, YAML, with a word on each part."""
    grpc, jsonrpc, metrics = plan.ports
    parts = [
        f"# The EPS server of {plan.name}.",
        f"name: {_word(plan.name)}",
        *([f"state_path: {plan.state_path}"] if plan.state_path else []),
        _directory(plan),
        *([_signing(plan)] if plan.signing else []),
        f"metrics:\n  bind_address: localhost:{metrics}",
        "# The channels, in the order in which they are asked to deliver a request.",
        "channels:",
        "  - type: grpc_client",
        "    settings:",
        _tls(plan, 6),
        "  - type: grpc_server",
        "    settings:",
        f"      bind_address: localhost:{grpc}  # behind a proxy nobody needs to reach it",
        _tls(plan, 6),
        *([_service(plan.service)] if plan.service else []),
        "  - type: jsonrpc_server  # our applications call here",
        "    settings:",
        f"      bind_address: localhost:{jsonrpc}",
        _tls(plan, 6),
        f"        allowed_names: [{', '.join(map(_word, (plan.name, *plan.applications)))}]",
    ]
    return "\n".join(parts) + "\n"


def _word(text: str) -> str:
    """``text`` in YAML: in quotes where that would take it for something else, as it does 007 and no."""
    return text if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text else json.dumps(text)


def _directory(plan: Plan) -> str:
    name = f"\n    server_names: [{_word(plan.directory_name)}]" if plan.directory_name else ""
    return f"""directory:
  type: api
  settings:
    endpoints: ["{plan.directory}"]{name}
    jsonrpc_client:
{_tls(plan, 6)}
    # Whose signatures on records count:
    ca_certificate_files: ["{plan.certificates}/root.crt"]
    ca_intermediate_certificate_files: ["{plan.certificates}/intermediate.crt"]"""


def _signing(plan: Plan) -> str:
    return f"""signing:
  certificate_file: "{plan.certificates}/{plan.name}-sign.crt"
  key_file: "{plan.certificates}/{plan.name}-sign.key"
  ca_certificate_file: "{plan.certificates}/root.crt"
  ca_intermediate_certificate_files: ["{plan.certificates}/intermediate.crt"]"""


def _service(endpoint: str) -> str:
    return f"""  - type: jsonrpc_client  # our service
    settings:
      endpoint: {endpoint}
      client_entry: short  # who calls, without the signed records of its directory entry"""


def _tls(plan: Plan, indent: int) -> str:
    lines = (
        "tls:",
        f'  ca_certificate_files: ["{plan.certificates}/root.crt"]',
        f'  certificate_file: "{plan.certificates}/{plan.name}.crt"',
        f'  key_file: "{plan.certificates}/{plan.name}.key"',
    )
    return "\n".join(" " * indent + line for line in lines)
