"""Whom a JSON-RPC client calls: its URL, the head of every request to it, and how errors speak of it."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from yarl import URL

from eps.core.host_port import render_host_port
from eps.core.jsonrpc_text import EXPECTED_CONTENT_TYPE
from eps.errors import Side, StartError
from eps.reasons import Reason


@dataclass(frozen=True, slots=True)
class Callee:
    """Who is called, as errors speak of it.

    Attributes:
        name: what is behind the endpoint (``the service directory``); empty: its URL says enough.
        side: whose side failures are on, for ``error.data``: the application's is ours, a directory's the directory's.
        tells_url: whether messages say where that is, too: not, where they go to other organisations. Then it is in
            the errors' ``place``.
        reasons: what a failure's general reason is here; None: the same.
        tells_hour: our clock is compared with the ``Date`` of its answers.
    """

    name: str = ""
    side: Side = Side.PEER
    tells_url: bool = True
    reasons: Mapping[Reason, Reason] | None = None
    tells_hour: bool = False

    def label(self, where: str) -> str:
        """For messages; ``where`` is the URL, without a password."""
        if not self.tells_url:
            return self.name
        return f"{self.name} at {where}" if self.name else where


OF_AN_APPLICATION = {
    Reason.UNREACHABLE: Reason.APPLICATION_DOWN,
    Reason.SILENT: Reason.APPLICATION_DOWN,
    Reason.NO_ANSWER: Reason.APPLICATION_SILENT,
    Reason.BROKE_OFF: Reason.APPLICATION_BROKE_OFF,
    Reason.BAD_ANSWER: Reason.APPLICATION_ANSWER,
}

OF_A_DIRECTORY = dict.fromkeys((Reason.UNREACHABLE, Reason.SILENT, Reason.NO_ANSWER), Reason.DIRECTORY_UNREACHABLE)


def http_url(text: str, setting: str, schemes: tuple[str, ...] = ("http", "https")) -> URL:
    """The URL in ``text``, which the setting of that name has. Raises StartError: it is none of ``schemes``."""
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in schemes or not url.host:
        kinds = " or ".join(f"{scheme}://" for scheme in schemes)
        hint = (
            f"write it like {schemes[-1]}://host:port/jsonrpc" if len(schemes) > 1 else "write it like http://host:port"
        )
        shown = str(url.with_user(None)) if url.host else text  # without a password
        raise StartError(f"{setting}: {shown!r} is no {kinds} URL", hint=hint)
    return url


def request_head(url: URL, proxy: URL | None) -> bytes:
    """The head of every request, up to the length of its body."""
    goes_through = proxy is not None and url.scheme == "http"  # it reads the URL (RFC 9112, section 3.2.2)
    target = str(url.with_user(None).with_fragment(None)) if goes_through else url.raw_path_qs
    fields = {
        "Host": url.host_port_subcomponent or "",
        "Accept": EXPECTED_CONTENT_TYPE,
        "Accept-Encoding": "identity",
        "Content-Type": EXPECTED_CONTENT_TYPE,
        "Authorization": _basic(url),
        "Proxy-Authorization": _basic(proxy) if proxy is not None and goes_through else "",
    }
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value)]
    return "\r\n".join([*lines, "Content-Length: "]).encode("ascii")


def _basic(url: URL) -> str:
    """RFC 7617; empty without a user."""
    if url.user is None:
        return ""
    return f"Basic {base64.b64encode(f'{url.user}:{url.password or str()}'.encode()).decode()}"


def host_port(url: URL) -> str:
    """Its ``HOST:PORT``, to be dialled."""
    return render_host_port(url.raw_host or "", url.port or 0)
