"""Endpoints: URLs, certificates, HTTP proxies, and where all this comes from."""

from pathlib import Path

import pytest

from eps.client import Client, Endpoint, SetupError
from eps.client.endpoint import Place, Proxy
from eps.client.own_settings import read_own
from eps.client.profiles import read_profile
from support.testing import certificates


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://localhost:5555", Place(True, "localhost", 5555, "/jsonrpc", "hd-1")),
        ("https://localhost/", Place(True, "localhost", 443, "/jsonrpc", "hd-1")),
        ("http://[::1]:80/rpc?x=1", Place(False, "::1", 80, "/rpc?x=1", "hd-1")),
    ],
)
def test_urls(url: str, place: Place) -> None:
    assert Endpoint(url, operator="hd-1").place == place


def test_without_operator_the_host_must_be_proven() -> None:
    assert Endpoint("https://eps.example.org").place.name == "eps.example.org"


NO_URLS = ("", "localhost:5555", "ftp://x", "https://", "http://x:0", "http://x:99999", "http://a b", "http://[::1",
           "http://x/ä", "http://ä", "http://.x", "http://" + "x" * 64)  # fmt: skip


@pytest.mark.parametrize("url", [*NO_URLS, "https://user:secret@x"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(SetupError) as caught:
        Endpoint(url)
    assert "secret" not in str(caught.value)


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(SetupError, match="belong together"):
        Endpoint("https://x", certificate_file="a.crt")


def test_a_name_that_no_certificate_carries() -> None:
    with pytest.raises(SetupError, match="no certificate can carry"):
        Endpoint("https://x", operator="x" * 64)


def test_proxies() -> None:
    there = Endpoint("https://eps.example.org:5555")
    assert there.proxy({"HTTPS_PROXY": "http://me:s%40crt@proxy:3128"}) == Proxy("proxy", 3128, "me", "s@crt")
    assert there.proxy({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "example.org"}) is None
    assert Endpoint("https://localhost:5555").proxy({"HTTPS_PROXY": "http://proxy:3128"}) is None
    given = Endpoint("http://localhost:5555", proxy_url="http://proxy")
    assert given.proxy({}) == Proxy("proxy", 80) and "secret" not in repr(Proxy("x", 1, "me", "secret"))
    assert "secret" not in repr(Endpoint("http://x", proxy_url="http://me:secret@proxy"))
    with pytest.raises(SetupError, match="HTTPS_PROXY"):
        there.proxy({"HTTPS_PROXY": "socks5://proxy"})
    with pytest.raises(SetupError, match="proxy's URL"):
        Client(Endpoint("https://x.org", proxy_url="https://proxy"))


def test_files_that_cant_be_used(tmp_path: Path) -> None:
    made = certificates()
    made.issued("hd-1"), made.issued("hd-2")
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("no certificate")
    root, folder = str(made.root_file), str(made.folder)
    for more, words in (
        ({"ca_certificate_files": ("missing.crt",)}, "missing.crt: can't be read"),
        ({"ca_certificate_files": (str(nothing),)}, "no certificate in PEM form"),
        ({"certificate_file": f"{folder}/hd-1.crt", "key_file": f"{folder}/hd-2.key"}, "don't fit each other"),
        ({"certificate_file": str(nothing), "key_file": str(nothing)}, "no certificate and key"),
    ):
        with pytest.raises(SetupError, match=words):
            Client(Endpoint("https://x", **{"ca_certificate_files": (root,), **more}))  # type: ignore[arg-type]
    Client(Endpoint("https://x")).close()


def test_profiles(tmp_path: Path) -> None:
    (tmp_path / "eps").mkdir()
    file = tmp_path / "eps" / "office.toml"
    file.write_text(
        'url = "https://x:5555"\noperator = "hd-1"\ncertificate_file = "app.crt"\nkey_file = "/keys/app.key"\n'
        'ca_certificate_files = ["root.crt"]\nproxy_url = "http://proxy:1"\n'
    )
    beside = str(tmp_path / "eps")
    wanted = Endpoint("https://x:5555/jsonrpc", "hd-1", f"{beside}/app.crt", "/keys/app.key", (f"{beside}/root.crt",),
                      "http://proxy:1")  # fmt: skip
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "EPS_PROFILE": "office"}
    assert read_profile("", environment) == read_profile(file, {}) == read_profile("office", environment) == wanted
    with pytest.raises(SetupError, match="EPS_PROFILE"):
        read_profile("", {})
    with pytest.raises(SetupError, match=r"other\.toml: the profile can't be read"):
        read_profile("other", environment)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("url", "no profile in TOML"),
        ('operator = "x"', "url: is missing"),
        ('url = "http://x"\nname = "y"', "name: unknown key"),
        ("url = 3", "url: must be a text"),
        ('url = "http://x"\nca_certificate_files = "x"', "must be a list of texts"),
        ('url = "x"', "for example https://localhost:5555"),
        ("#" * 70_000, "more than 65536 bytes"),
    ],
    ids=["no-toml", "no-url", "unknown", "type", "list", "bad-url", "large"],
)
def test_profiles_that_are_none(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(SetupError, match=words) as caught:
        read_profile(file)
    assert str(file) in str(caught.value)


def test_an_eps_servers_settings(dev_tree: Path) -> None:
    certs = dev_tree / "certs"
    found = read_own(dev_tree / "roles" / "hd-1")
    assert found.url == "https://localhost:5555/jsonrpc" and found.operator == "hd-1"
    assert Path(found.certificate_file).resolve() == (certs / "hd-1.crt").resolve()
    with pytest.raises(SetupError, match="missing"):
        read_own("missing")
    with pytest.raises(SetupError, match="EPS_SETTINGS"):
        read_own("", {})
