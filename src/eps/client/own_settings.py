"""An EPS server's settings as an endpoint: applications beside it call as the operator itself, as ``eps call`` does.

This loads what reads settings, pydantic among it; whoever has a profile needs none of it.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from eps.client.endpoint import Endpoint
from eps.client.errors import SetupError
from eps.core.certificate import subject_of
from eps.core.endpoint import normal_host
from eps.core.host_port import parse_host_port, render_host_port
from eps.core.pem import certificates_in
from eps.errors import EpsError, StartError
from eps.settings import load_eps
from eps.settings.models import JsonRpcServerSettings
from eps.transport.credentials import read_file

VARIABLE = "EPS_SETTINGS"


def read_own(settings: str | os.PathLike[str] = "", environment: Mapping[str, str] = os.environ) -> Endpoint:
    """The JSON-RPC port that an EPS server's settings name, with the certificate that they name for it.

    Args:
        settings: files or folders, as EPS_SETTINGS has them; empty: what that variable says.

    Raises:
        SetupError: all that is wrong with them, one line for each problem; or they name no ``jsonrpc_server``.
    """
    named = {**environment, VARIABLE: os.fspath(settings)} if os.fspath(settings) else dict(environment)
    try:
        server = load_eps(named, Path.cwd()).settings.jsonrpc_server
        if server is None:
            raise SetupError("the settings have no jsonrpc_server channel to call: add one to channels")
        return endpoint_of(server)
    except EpsError as error:
        raise SetupError(str(error)) from None


def endpoint_of(server: JsonRpcServerSettings) -> Endpoint:
    """A JSON-RPC port, called with the very certificate that it shows itself. Raises StartError: that can't be read."""
    host, port = parse_host_port(server.bind_address)
    all_interfaces = normal_host(host) in ("", "0.0.0.0", "::")  # noqa: S104 - where to dial what binds all
    address = render_host_port("localhost" if all_interfaces else host, port)
    if server.tls is None:
        return Endpoint(f"http://{address}{server.path}")
    file, setting = server.tls.certificate_file or "", "tls.certificate_file"
    try:
        return Endpoint(
            f"https://{address}{server.path}",
            operator=subject_of(certificates_in(read_file(file, setting), file, setting)[0]).tls_names[0],
            certificate_file=file,
            key_file=server.tls.key_file or "",
            ca_certificate_files=tuple(server.tls.ca_certificate_files),
        )
    except SetupError as error:
        raise StartError(str(error)) from None
