"""What an entry's sections hold, as typed values (PROTOCOL.md section 4): channels, services, pins, settings.

Made of a record's data in its normal form (:mod:`eps.core.record`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from eps.core.names import Fingerprint, Object, Operator, RecordHash

GRPC_SERVER = "grpc_server"
GRPC_CLIENT = "grpc_client"

PROXIES = "proxies"
"""The service whose settings name further proxies: a name of its own, which no server in use reads."""

MAX_ALTERNATIVES = 7
"""Further proxies that are looked at; each costs those who call a brokering where those before it fail."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to reach an operator; ``settings`` is None where the type needs none."""

    type: str
    settings: Object | None = None

    def to_json(self) -> Object:
        return {"type": self.type, "settings": self.settings}


@dataclass(frozen=True, slots=True)
class GrpcServerInfo:
    """The settings of an entry's ``grpc_server`` channel.

    Attributes:
        address: host:port; empty where an entry lacks it, against the rule.
        internal: not to be dialled by other operators.
        proxy: the operator through whose proxy it is reached; empty: directly.
    """

    address: str
    internal: bool
    proxy: Operator


@dataclass(frozen=True, slots=True)
class Permission:
    group: str
    rights: tuple[str, ...]

    def to_json(self) -> Object:
        return {"group": self.group, "rights": list(self.rights)}


@dataclass(frozen=True, slots=True)
class Method:
    """A service's method. ``parameters`` is free-form, None where nothing is said."""

    name: str
    permissions: tuple[Permission, ...]
    parameters: Any = None

    def to_json(self) -> Object:
        permissions = [permission.to_json() for permission in self.permissions]
        return {"name": self.name, "permissions": permissions, "parameters": self.parameters}


@dataclass(frozen=True, slots=True)
class Service:
    """Methods that an operator offers, with permissions for all and for each of them."""

    name: str
    permissions: tuple[Permission, ...]
    methods: tuple[Method, ...]

    def to_json(self) -> Object:
        return {
            "name": self.name,
            "permissions": [permission.to_json() for permission in self.permissions],
            "methods": [method.to_json() for method in self.methods],
        }


@dataclass(frozen=True, slots=True)
class PinnedCertificate:
    """A certificate that an operator uses; ``key_usage`` is ``encryption`` (TLS) or ``signing``."""

    fingerprint: Fingerprint
    key_usage: str

    def to_json(self) -> Object:
        return {"fingerprint": self.fingerprint, "key_usage": self.key_usage}


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Settings that the directory gives an operator's service; an empty ``operator`` or ``service`` means any."""

    operator: str
    service: str
    environment: str
    settings: Object

    def to_json(self) -> Object:
        return {
            "operator": self.operator,
            "service": self.service,
            "environment": self.environment,
            "settings": self.settings,
        }


@dataclass(frozen=True, slots=True)
class Mark:
    """A section of an entry that is not what its last record says, since that can't be used.

    Attributes:
        section: which.
        record: the hash of that record.
        state: ``emptied``, or ``kept`` as it was before.
        why: for administrators.
    """

    section: str
    record: RecordHash
    state: str
    why: str

    def to_json(self) -> Object:
        return {"section": self.section, "record": self.record, "state": self.state, "why": self.why}


def first_settings(given: Iterable[tuple[object, object, T]], service: str, asking: str) -> T | None:
    """The settings for a service, as PROTOCOL.md section 4 says: the first that fit. None: there are none.

    Args:
        given: operator, service and settings of each item; an empty or absent operator or service means any.
        asking: the operator whose server wants to know.
    """
    for operator, of_service, settings in given:
        if of_service in (service, "", None) and operator in (asking, "", None):
            return settings
    return None


def alternatives_in(settings: Object) -> list[str]:
    """The further proxies in settings for the service ``proxies``: of a list of names, those that are some."""
    found = settings.get("alternatives")
    names = [name for name in found if isinstance(name, str) and name] if isinstance(found, list) else []
    return names[:MAX_ALTERNATIVES]


def is_direct(channels: tuple[Channel, ...]) -> bool:
    """Whether others dial the first ``grpc_server`` without a proxy. Asked of ten thousand entries in one go, so it is
    answered without typed ones (:func:`grpc_server_of`)."""
    for channel in channels:
        if channel.type == GRPC_SERVER:
            settings = channel.settings or {}
            address, proxy = settings.get("address"), settings.get("proxy")
            proxied = bool(proxy) and isinstance(proxy, str)
            return bool(address) and isinstance(address, str) and settings.get("internal") is not True and not proxied
    return False


def grpc_server_of(channel: Channel) -> GrpcServerInfo:
    """What a ``grpc_server`` channel says. Lenient: a value of another type than the rule wants counts as absent."""
    settings = channel.settings or {}
    address, proxy = settings.get("address"), settings.get("proxy")
    return GrpcServerInfo(
        address if isinstance(address, str) else "",
        settings.get("internal") is True,
        Operator(proxy if isinstance(proxy, str) else ""),
    )


def typed(section: str, data: list[Any]) -> Any:
    """The typed form of a section's normalised content."""
    return tuple(_TYPES[section](item) for item in data)


def _channel(item: Object) -> Channel:
    return Channel(item["type"], item.get("settings"))


def _service(item: Object) -> Service:
    methods = (Method(method["name"], _permissions(method), method.get("parameters")) for method in item["methods"])
    return Service(item["name"], _permissions(item), tuple(methods))


def _permissions(item: Object) -> tuple[Permission, ...]:
    return tuple(Permission(permission["group"], tuple(permission["rights"])) for permission in item["permissions"])


def _certificate(item: Object) -> PinnedCertificate:
    return PinnedCertificate(Fingerprint(item["fingerprint"]), item["key_usage"])


def _settings(item: Object) -> ServiceSettings:
    return ServiceSettings(item["operator"], item["service"], item["environment"], item["settings"])


_TYPES: dict[str, Callable[[Any], Any]] = {
    "channels": _channel,
    "certificates": _certificate,
    "services": _service,
    "preferences": _settings,
    "settings": _settings,
    "groups": str,
}
