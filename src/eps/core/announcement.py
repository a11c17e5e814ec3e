"""Who has announced which domain (PROTOCOL.md section 8). Pure: time is passed in, nothing is stored here.

An announcement says that TLS connections for ``domain`` are ``holder``'s until ``expires_at``. There are two kinds, and
they differ in whom they name:

    public   kept by a public proxy    the operator that announced the domain     one for each domain
    private  kept by a private proxy   the public proxy it was announced to       one for each domain and public proxy

A domain belongs to the operator that announced it until the announcement expires; then to whoever announces it next
(:func:`decide_claims`). Later announcements of the holder replace its earlier ones: they prolong, shorten, or, with a
date that has passed, give the domain up.

Domains are compared without regard to ASCII case and kept as they were written. A domain is *covered* by a suffix such
as ``.example.org`` if it ends in it: the dot makes that whole labels, so ``bad-example.org`` is not covered, nor is
``example.org`` itself.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from eps.core.client import Client
from eps.core.instant import Instant, nanoseconds_of, parse_instant
from eps.core.limits import MAX_NAME_CHARS
from eps.core.names import Object, Operator
from eps.core.sections import GRPC_SERVER, first_settings
from eps.errors import BadParams, EpsError, NotPermitted, Side, Stage

MAX_AHEAD = timedelta(days=7)
"""PROTOCOL.md section 8: how far ahead ``expires_at`` may lie."""

MAX_PER_HOLDER = 10_000
"""Domains of one holder. A suffix covers names without end, so something must bound them; each costs under 1 KiB."""

PROXY_SERVICE = "proxy"
"""The service whose settings in the directory say which domains an operator may announce."""

DOMAINS_KEY = "allowed_domains"

_LABEL = r"[a-z0-9_-]{1,63}"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*+", re.IGNORECASE | re.ASCII)
_SUFFIX = re.compile(rf"(?:\.{_LABEL})++", re.IGNORECASE | re.ASCII)


class Keeper(Enum):
    """Which proxy keeps the announcement; the values are the entry types of PROTOCOL.md section 6."""

    PUBLIC = 1
    PRIVATE = 2

    @property
    def holder_key(self) -> str:
        """The key under which the holder is written."""
        return "operator" if self is Keeper.PUBLIC else "proxy"


@dataclass(frozen=True, slots=True)
class Announcement:
    """One announcement.

    Attributes:
        holder: see the module's text.
        domain: as it was announced.
        expires_at: None: it stands until the holder replaces it.
    """

    holder: Operator
    domain: str
    expires_at: Instant | None = None

    @property
    def key(self) -> str:
        """What the domain is compared by."""
        return domain_key(self.domain)

    def stands(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or self.expires_at.nanoseconds > nanoseconds_of(now)

    def to_json(self, keeper: Keeper) -> Object:
        """What ``getAnnouncements`` shows of it, and what a store keeps."""
        expires_at = self.expires_at.text if self.expires_at is not None else None
        return {keeper.holder_key: self.holder, "domain": self.domain, "expires_at": expires_at}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks to announce."""

    domain: str
    expires_at: Instant | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one domain of several is not announced; ``code`` is 403 or 409."""

    code: int
    message: str

    def to_json(self) -> Object:
        """As it stands in the list that ``announceConnections`` answers."""
        return {"code": self.code, "message": self.message}


# Stores


def encode(announcement: Announcement, keeper: Keeper) -> bytes:
    """The data of a store's entry."""
    return json.dumps(announcement.to_json(keeper), ensure_ascii=False, separators=(",", ":")).encode()


def decode(data: bytes, keeper: Keeper) -> Announcement:
    """The reverse of :func:`encode`; other keys are ignored.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except ValueError:
        raise ValueError("is no JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")
    holder, domain, expires_at = value.get(keeper.holder_key), value.get("domain"), value.get("expires_at")
    if not isinstance(holder, str) or not holder or not isinstance(domain, str) or not domain:
        raise ValueError(f"has no {keeper.holder_key} or no domain")
    if expires_at is not None and not isinstance(expires_at, str):
        raise ValueError("has an expires_at that is no text")
    return Announcement(Operator(holder), domain, parse_instant(expires_at) if expires_at is not None else None)


def domain_key(domain: str) -> str:
    """What domains are compared by: case and one final dot mean nothing in DNS (RFC 4343; RFC 1034, section 3.1)."""
    return domain.lower().removesuffix(".")


# Who may


def is_domain(text: str) -> bool:
    """Whether ``text`` is a DNS name in ASCII, without a trailing dot."""
    return len(text) <= MAX_NAME_CHARS and _DOMAIN.fullmatch(text) is not None


def is_covered(domain: str, suffixes: Iterable[str]) -> bool:
    """Whether ``domain`` is a DNS name that ends in one of ``suffixes``, which begin with a dot."""
    return is_domain(domain) and domain.lower().endswith(tuple(suffix.lower() for suffix in suffixes))


def allowed_suffixes(client: Client, asking: Operator) -> tuple[str, ...]:
    """The suffixes that the directory allows ``client`` to announce at the proxy of ``asking``.

    Raises:
        NotPermitted: the directory has no settings for it.
        EpsError: with code 500, the settings hold no list of suffixes.
    """
    settings = proxy_settings(client.entry, asking)
    where = f"{client.name}'s settings for service «{PROXY_SERVICE}» in the directory"
    if settings is None:
        raise NotPermitted(
            f"{client.name} may announce no domain: the directory has no settings of it for service «{PROXY_SERVICE}»",
            hint=f'its administrator submits them: {{"{DOMAINS_KEY}": [".example.org"]}}',
        )
    suffixes = settings.get(DOMAINS_KEY)
    if not isinstance(suffixes, list) or not all(map(_is_suffix, suffixes)):
        raise EpsError(
            f"{where} hold no valid {DOMAINS_KEY}",
            hint=f'it must be a list of suffixes that begin with a dot: {{"{DOMAINS_KEY}": [".example.org"]}}',
            code=500,
            stage=Stage.PERMISSION,
            side=Side.DIRECTORY,
        )
    return tuple(suffixes)


def _is_suffix(item: object) -> bool:
    return isinstance(item, str) and _SUFFIX.fullmatch(item) is not None


def not_covered(domain: str, client: Operator) -> str:
    """The text of error 403."""
    return f"the directory does not allow {client} to announce {domain[:MAX_NAME_CHARS]}"


def decide_claims(
    book: Mapping[str, Announcement],
    operator: Operator,
    wanted: Sequence[Wanted],
    suffixes: Sequence[str],
    now: datetime,
) -> tuple[list[Announcement], list[Refusal | None]]:
    """What becomes of an ``announceConnections`` of ``operator``.

    Args:
        book: all public announcements, also expired ones, by :attr:`Announcement.key`.

    Returns:
        The announcements to be kept, without those that are in the book already; and for each wanted one, in its
        place, None or why it is refused.
    """
    kept: dict[str, Announcement] = {}
    answers: list[Refusal | None] = []
    room = MAX_PER_HOLDER - sum(known.holder == operator and known.stands(now) for known in book.values())
    for item in wanted:
        announcement = Announcement(operator, item.domain, item.expires_at)
        known = kept.get(announcement.key) or book.get(announcement.key)
        mine = known is not None and known.holder == operator and known.stands(now)
        refusal = _refuse(announcement, known, suffixes, room > 0 or mine, now)
        answers.append(refusal)
        if refusal is None and announcement != known and (mine or announcement.stands(now)):
            kept[announcement.key] = announcement
            room -= not mine
    return list(kept.values()), answers


def _refuse(
    announcement: Announcement, known: Announcement | None, suffixes: Sequence[str], room: bool, now: datetime
) -> Refusal | None:
    domain = announcement.domain
    if not is_covered(domain, suffixes):
        return Refusal(403, not_covered(domain, announcement.holder))
    if known is not None and known.holder != announcement.holder and known.stands(now):
        return Refusal(409, f"{domain} is announced by another operator")
    if not room:
        return Refusal(403, f"{announcement.holder} has announced {MAX_PER_HOLDER} domains, as many as it may")
    return None


# What callers send


def parse_connections(params: Object, now: datetime) -> list[Wanted]:
    """``connections`` of ``announceConnections``.

    Raises:
        BadParams: naming the place.
    """
    connections = params.get("connections")
    if not isinstance(connections, list):
        raise BadParams("connections: must be a list of objects with domain and expires_at")
    return [_parse_wanted(item, f"connections.{index}.", now) for index, item in enumerate(connections)]


def parse_connection(params: Object, now: datetime) -> tuple[Wanted, Operator]:
    """``domain``, ``expires_at`` and ``proxy`` of ``announceConnection``.

    Raises:
        BadParams: naming the place.
    """
    wanted = _parse_wanted(params, "", now)
    proxy = params.get("proxy")
    if not isinstance(proxy, str) or not proxy:
        raise BadParams("proxy: must be the operator name of the public proxy to announce the domain to")
    return wanted, Operator(proxy)


def _parse_wanted(value: Any, place: str, now: datetime) -> Wanted:
    if not isinstance(value, dict):
        raise BadParams(f"{place.removesuffix('.')}: must be an object")
    domain, expires_at = value.get("domain"), value.get("expires_at")
    if not isinstance(domain, str) or not domain:
        raise BadParams(f"{place}domain: must be a domain name")
    if expires_at is None:
        return Wanted(domain, None)
    if not isinstance(expires_at, str):
        raise BadParams(f"{place}expires_at: must be a date, or null")
    try:
        instant = parse_instant(expires_at)
    except ValueError as error:
        raise BadParams(f"{place}expires_at: {error}") from None
    if instant.nanoseconds > nanoseconds_of(now + MAX_AHEAD):
        raise BadParams(f"{place}expires_at: must be at most {MAX_AHEAD.days} days ahead")
    return Wanted(domain, instant)


def proxy_settings(entry: Object, asking: Operator) -> Object | None:
    """The settings for service ``proxy`` in an entry as JSON, as the server of ``asking`` is to see them.

    None if there are none. Lenient: the entry comes from another server, and what is malformed in it counts as absent.
    """
    items = entry.get("settings")
    objects = [item for item in (items if isinstance(items, list) else ()) if isinstance(item, dict)]
    given = ((item.get("operator"), item.get("service"), _object(item.get("settings"))) for item in objects)
    return first_settings(given, PROXY_SERVICE, asking)


def grpc_address(entry: Object) -> str:
    """The address of the gRPC server in an entry as JSON; empty if there is none. Lenient as :func:`proxy_settings`."""
    channels = entry.get("channels")
    for channel in channels if isinstance(channels, list) else ():
        settings = channel.get("settings") if isinstance(channel, dict) else None
        if isinstance(settings, dict) and channel.get("type") == GRPC_SERVER:
            address = settings.get("address")
            return address if isinstance(address, str) else ""
    return ""


def _object(value: object) -> Object:
    return value if isinstance(value, dict) else {}
