"""What differs between two readings of settings: what is taken over alive, and what waits for the next start."""

from typing import Any

import pytest

from eps.settings.changes import Changes, changes
from eps.settings.models import EpsSettings, SdSettings

TLS = {"ca_certificate_files": ["/root.crt"], "certificate_file": "/a.crt", "key_file": "/a.key"}


def eps(**more: Any) -> EpsSettings:
    channels = [
        {"type": "grpc_server", "settings": {"tls": TLS, "bind_address": "localhost:1"}},
        {"type": "jsonrpc_client", "settings": {"endpoint": "http://localhost:1/"}},
    ]
    given = {
        "name": "hd-1",
        "state_path": "/state",
        "directory": {"type": "json", "settings": {"path": "/records.json"}},
        "channels": channels,
        **more,
    }
    return EpsSettings.model_validate(given)


def sd(**redis: Any) -> SdSettings:
    store = {"type": "redis", "settings": {"addresses": ["localhost:1"], "password": "", "tls": TLS, **redis}}
    directory = {"datastore": store, "ca_certificate_files": ["/root.crt"]}
    given = {"state_path": "/s", "directory": directory, "jsonrpc_server": {"bind_address": "localhost:1"}}
    return SdSettings.model_validate(given)


def with_channel(index: int, **settings: Any) -> EpsSettings:
    plain = eps().model_dump(by_alias=True)["channels"]
    plain[index]["settings"].update(settings)
    return eps(channels=plain)


def test_the_same_differ_in_nothing() -> None:
    assert changes(eps(), eps()) == Changes((), ())


@pytest.mark.parametrize(
    ("after", "now", "later"),
    [
        (eps(log_level="debug"), "log_level", ""),
        (eps(name="hd-2"), "", "name"),
        (with_channel(1, endpoint="http://localhost:2/"), "channels[1].settings.endpoint", ""),
        (with_channel(0, bind_address="localhost:2"), "", "channels[0].settings.bind_address"),
        (with_channel(0, tcp_rate_limits=[{"type": "hour", "limit": 1}]), "channels[0].settings.tcp_rate_limits", ""),
        (eps(channels=[]), "", "channels"),
        (eps(metrics={"bind_address": "localhost:1"}), "", "metrics"),
    ],
    ids=["level", "name", "endpoint", "address", "limits", "channels", "metrics"],
)
def test_each_change_is_for_now_or_later(after: EpsSettings, now: str, later: str) -> None:
    assert changes(eps(), after) == Changes((now,) if now else (), (later,) if later else ())


def test_nothing_in_a_store_changes_alive() -> None:
    after = sd(tls={**TLS, "server_name": "redis"})
    assert changes(sd(), after) == Changes((), ("directory.datastore.settings.tls.server_name",))
