"""What the doctor and others say of an operator with several proxies."""

from eps.core.names import Operator
from eps.core.ways import way_between
from eps.programs.diagnosis.explain import way_text
from eps.programs.diagnosis.way import proxies_of_interest
from eps.programs.directory.shown import overview
from support.fakes import network_directory

P, Q = "public-proxy-1.ga", "q"
RECORDS = [{"name": "hd-2", "section": "settings", "data": [{"service": "proxies", "settings": {"alternatives": [Q]}}]}]
SERVER = [{"type": "grpc_server", "settings": {"address": "q:1"}}]
DIRECTORY = network_directory(records=RECORDS, q=SERVER)


def test_all_proxies_are_looked_at() -> None:
    assert proxies_of_interest(DIRECTORY, "hd-1", "hd-2") == [P, Q]
    assert proxies_of_interest(DIRECTORY, Q, "hd-2") == [P]


def test_the_way_in_words() -> None:
    way = way_between(DIRECTORY, Operator("hd-1"), Operator("hd-2"))
    assert way_text(way, "hd-1", "hd-2") == f"hd-1 → hd-2, behind the proxy {P}, else {Q}"
    assert f"behind {P}, else {Q};" in dict(overview(DIRECTORY))["hd-2"]


def test_one_of_them_that_is_not_there() -> None:
    missing = network_directory(records=RECORDS)
    assert proxies_of_interest(missing, "hd-1", "hd-2") == [P]
    way = way_between(missing, Operator("hd-1"), Operator("hd-2"))
    assert (way.why, way.others[0].why) == ("", f"{Q} is not in the directory")
