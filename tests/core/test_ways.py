"""How one operator's server reaches another's."""

import pytest

from eps.core.names import Operator
from eps.core.ways import Kind, Way, way_between
from support.fakes import network_directory, removed_from

PROXY = "public-proxy-1.ga"


@pytest.mark.parametrize(
    ("caller", "callee", "way"),
    [
        ("hd-1", "hd-1", Way(Kind.OWN)),
        ("hd-1", "hd-2", Way(Kind.PROXY, "localhost:5556", Operator(PROXY))),
        ("hd-1", PROXY, Way(Kind.DIRECT, "localhost:5556")),
        (PROXY, "hd-1", Way(Kind.STREAM)),
    ],
    ids=["own", "proxy", "direct", "stream"],
)
def test_the_development_network(caller: str, callee: str, way: Way) -> None:
    assert way_between(network_directory(), Operator(caller), Operator(callee)) == way


def server(**settings: object) -> list[dict[str, object]]:
    return [{"type": "grpc_server", "settings": {"address": "hd-2:1", **settings}}]


def test_where_there_is_none() -> None:
    def why(callee: str, **channels: list[dict[str, object]]) -> str:
        way = way_between(network_directory(**channels), Operator("hd-1"), Operator(callee))
        assert way.kind is Kind.NONE
        return way.why

    assert why("hd-9") == "hd-9 is not in the directory"
    gone = removed_from(network_directory(), "hd-2")
    assert way_between(gone, Operator("hd-1"), Operator("hd-2")).why == "hd-2 was removed from the directory"
    assert why("hd-2", hd_2=[]).startswith("hd-2 lists no grpc_server channel, and it holds no stream to hd-1")
    assert why("hd-2", hd_2=server(internal=True)).startswith("the gRPC server of hd-2 is internal, and")
    assert why("hd-2", hd_2=server(proxy="hd-1")).startswith("hd-2 is reached through hd-1, and")


def test_a_proxy_without_an_address() -> None:
    unknown = way_between(network_directory(without=PROXY), Operator("hd-1"), Operator("hd-2"))
    assert (unknown.kind, unknown.address, unknown.proxy) == (Kind.PROXY, "", PROXY)
    assert unknown.why == f"{PROXY} is not in the directory"
    assert unknown.fix.startswith("hd-2's administrators: correct «proxy»")
    removed = way_between(removed_from(network_directory(), PROXY), Operator("hd-1"), Operator("hd-2"))
    assert removed.why == unknown.why and "did they mean" not in removed.fix
    empty = way_between(network_directory(**{PROXY: []}), Operator("hd-1"), Operator("hd-2"))
    assert empty.why == "the directory names no gRPC server of it"
    chained = way_between(network_directory(**{PROXY: server(proxy="p-2")}), Operator("hd-1"), Operator("hd-2"))
    assert chained.why == "the directory names a proxy before it (p-2)"
    assert "without a proxy" in empty.fix and empty.fix == chained.fix


def test_a_proxy_that_may_not_ask() -> None:
    """The callee holds no stream to it, either: whoever looks for a server that is off looks in vain."""
    internals = {"name": "i", "permissions": [{"group": "*", "rights": ["call"]}], "methods": [{"name": "_ping"}]}
    record = {"name": "hd-2", "section": "services", "data": [internals]}
    directory = network_directory(records=[record])
    way = way_between(directory, Operator("hd-1"), Operator("hd-2"))
    assert (way.kind, way.proxy) == (Kind.PROXY, PROXY)
    assert way.why == f"hd-2 lets {PROXY} not ask it for connections (_connectionRequest)"
    assert way.fix.startswith("hd-2's administrators: let a group of public-proxy-1.ga call")
    assert way_between(network_directory(), Operator("hd-1"), Operator("hd-2")).why == ""


def test_a_misspelt_proxy() -> None:
    misspelt = network_directory(hd_2=server(proxy="public-proxy-1.gq"))
    way = way_between(misspelt, Operator("hd-1"), Operator("hd-2"))
    assert way.why == "public-proxy-1.gq is not in the directory"
    assert way.fix.endswith(f"; did they mean {PROXY}?")
