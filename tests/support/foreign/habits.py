"""The habits of PROTOCOL.md section 9 that belong to an EPS server, as switches with their usual values."""

from dataclasses import dataclass, field

DAY = 24 * 3600.0


@dataclass(slots=True)
class Habits:
    """Streams: ``spins_after_ok`` … Calls: … gRPC: … One instance per server; tests change what they are about.

    Attributes:
        spins_after_ok: a ``ServerCall`` that ended with status OK is never opened again.
        reopen_after: seconds until a stream that ended otherwise is opened again (in use: up to 60).
        forgets_operator: when any stream of a name ends, the operator is forgotten, though a newer one is open.
        silent_internal_methods: over a stream, ``_ping`` and ``_directory`` get neither result nor error.
        refuses_ids_in_flight: a request whose id is in flight here is refused, whoever sent it.
        right_by_id: the right is checked by the id's method, while ``method`` is delivered. Off: both by the id.
        connection_per_call: each outgoing call dials anew. Off: direct connections are kept.
        grpc_service: what it calls the gRPC service, as server and as client; the fork Hyper has another name.
        idle_seconds: a server ends (GOAWAY) a connection without streams after this long,
        age_seconds: and any connection after this,
        grace_seconds: and cuts its streams this much later.
    """

    spins_after_ok: bool = True
    reopen_after: float = 0.1
    forgets_operator: bool = True
    silent_internal_methods: bool = True
    refuses_ids_in_flight: bool = True
    right_by_id: bool = True
    connection_per_call: bool = True
    grpc_service: str = "EPS"
    idle_seconds: float = 60.0
    age_seconds: float = DAY
    grace_seconds: float = 60.0

    def server_options(self) -> list[tuple[str, int]]:
        """The C core's channel arguments for a server."""
        return [
            ("grpc.max_connection_idle_ms", int(self.idle_seconds * 1000)),
            ("grpc.max_connection_age_ms", int(self.age_seconds * 1000)),
            ("grpc.max_connection_age_grace_ms", int(self.grace_seconds * 1000)),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 15_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.so_reuseport", 0),
        ]


def client_options(operator: str) -> list[tuple[str, str | int]]:
    """Channel arguments for a client of ``operator``: its name goes into SNI and is verified in the certificate."""
    return [
        ("grpc.ssl_target_name_override", operator),
        ("grpc.use_local_subchannel_pool", 1),  # else the C core shares connections between channels
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]


@dataclass(frozen=True, slots=True)
class Tls:
    """An operator's own certificate (leaf, then intermediate), its key, and the root that it trusts, all in PEM."""

    cert_pem: bytes
    key_pem: bytes = field(repr=False)
    root_pem: bytes
