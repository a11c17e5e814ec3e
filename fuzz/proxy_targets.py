"""Fuzz targets: announcements, and what names HTTP proxies."""

import json
from collections.abc import Hashable
from datetime import UTC, datetime
from typing import Any

from core_targets import WORDS, as_text, texts
from engine import Target

from eps.core.announcement import (
    Announcement,
    Keeper,
    allowed_suffixes,
    decide_claims,
    decode,
    encode,
    is_covered,
    parse_connection,
    parse_connections,
)
from eps.core.client import parse_client
from eps.core.http_proxy import http_proxies
from eps.core.names import Operator
from eps.errors import BadParams, EpsError, NotPermitted, StartError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PROXY = Operator("public-proxy-1.ga")
DOMAIN = "test.internal-server.local"
PROXY_WORDS = (
    *WORDS,
    *("connections", "domain", "expires_at", "allowed_domains", "_client", "service", "proxy", "operator", DOMAIN),
    *("2026-11-23T00:00:00Z", "2026-11-29T12:00:00.000000001Z", ".internal-server.local", "İ.internal-server.local"),
)


def announce_requests() -> list[Any]:
    settings = [{"operator": PROXY, "service": "proxy", "settings": {"allowed_domains": [".internal-server.local"]}}]
    client = {"name": "private-proxy-1.ga", "entry": {"name": "private-proxy-1.ga", "settings": settings}}
    wanted = [{"domain": DOMAIN}, {"domain": "B.internal-server.local", "expires_at": "2026-11-23T00:00:00Z"}]
    return [{"_client": client, "connections": wanted}]


def run_announce(value: Any) -> Hashable:
    """Only domains below the suffixes are kept, only one for each, and a store gives them back."""
    try:  # the JSON-RPC server has made sure that it is an object without lone surrogates
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None
    if not isinstance(value, dict):
        return None
    client = parse_client(value)
    wanted = parse_connections(value, NOW)
    suffixes = allowed_suffixes(client, PROXY)
    other = Announcement(Operator("other"), "taken.internal-server.local")
    kept, answers = decide_claims({other.key: other}, client.name, wanted, suffixes, NOW)
    assert len(answers) == len(wanted)
    assert len({announcement.key for announcement in kept}) == len(kept)
    for announcement in kept:
        assert announcement.holder == client.name and is_covered(announcement.domain, suffixes)
        assert announcement.key != other.key and announcement.domain.isascii()
        assert decode(encode(announcement, Keeper.PUBLIC), Keeper.PUBLIC) == announcement
    return len(kept), tuple(answer.code if answer else 0 for answer in answers)


def run_announce_one(value: Any) -> Hashable:
    if not isinstance(value, dict):
        return None
    wanted, proxy = parse_connection(value, NOW)
    assert wanted.domain and proxy
    return wanted.expires_at is None


def stored_announcements() -> list[bytes]:
    return [encode(Announcement(PROXY, DOMAIN), kind) for kind in Keeper]


def run_stored(data: bytes) -> Hashable:
    kind = Keeper.PRIVATE if b"proxy" in data[:8] else Keeper.PUBLIC
    announcement = decode(data, kind)
    announcement.stands(NOW)
    return announcement.expires_at is None


def run_http_proxies(data: bytes) -> Hashable:
    """HTTPS_PROXY, NO_PROXY and an address to dial, with newlines between."""
    url, exceptions, address = [*as_text(data).split("\n"), "", "", ""][:3]
    proxies = http_proxies(None, {"HTTPS_PROXY": url, "NO_PROXY": exceptions})
    found = proxies.url_for(address)
    assert found is None or found == proxies.url
    return bool(proxies.url), found is None, len(proxies.exceptions)


TARGETS = [
    Target(
        "announce",
        run_announce,
        announce_requests,
        (BadParams, NotPermitted, EpsError),
        values=True,
        tokens=PROXY_WORDS,
    ),
    Target(
        "announce_one",
        run_announce_one,
        lambda: [{"domain": DOMAIN, "proxy": PROXY, "expires_at": None}, {"domain": DOMAIN, "proxy": PROXY}],
        (BadParams,),
        values=True,
        tokens=PROXY_WORDS,
    ),
    Target(
        "announcement_stored",
        run_stored,
        stored_announcements,
        (ValueError,),
        tokens=texts('"expires_at":', "null", '"2026-11-23T00:00:00Z"', "[" * 200, '{"a":', "1" * 20, "NaN"),
    ),
    Target(
        "http_proxies",
        run_http_proxies,
        lambda: texts("http://u:p@proxy:3128\n.example.org,10.0.0.0/8 *.a:1 ::1\nb.example.org:443", "proxy\n*\na:1"),
        (StartError,),
        tokens=texts("\n", "http://", "[", "]", "::1", "@", ":", "/", "%", "٣", "0.0.0.0/0", "localhost", "*", "."),
    ),
]
