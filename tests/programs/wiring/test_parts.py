"""Settings as the lower layers take them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eps.core.event import Level, Notice, ignore
from eps.core.names import Operator
from eps.datastores.redis_link import RedisPlace
from eps.errors import StartError
from eps.pki import Authority
from eps.programs.admin.check import check
from eps.programs.wiring.credentials import own_fingerprints, tls_files
from eps.programs.wiring.parts import open_datastore, redis_place, settings_from, tell_of_certificates
from eps.settings import Loaded, load_eps, models
from eps.transport.credentials import read_file
from support.testing import Events


async def test_datastores(tmp_path: Path) -> None:
    """A file is one program's alone, also where another store would be shared."""
    memory = await open_datastore(models.MemoryDatastore(type="memory"), ignore)
    await memory.close()
    path = str(tmp_path / "entries")
    given = models.FileDatastore(type="file", settings=models.FileSettings(filename=path))
    file = await open_datastore(given, ignore, shared=True)
    with pytest.raises(StartError, match="in use by another program"):
        await open_datastore(given, ignore, shared=True)
    assert file.location == path
    await file.close()


async def test_where_a_redis_database_is() -> None:
    tls = models.TlsSettings(server_name="redis")
    given = models.RedisSettings(
        addresses=("127.0.0.1:1", "[::1]:1"),
        password="secret",
        username="u",
        master_name="m",
        database=3,
        sentinel_username="su",
        sentinel_password="secret too",
        tls=tls,
        wait_for_replicas=2,
    )
    place = redis_place(given)
    assert place == RedisPlace(("127.0.0.1:1", "[::1]:1"), "m", 3, "u", "secret", "su", "secret too", tls_files(tls), 2)
    assert "secret" not in f"{given!r} {place!r} {place.describe()}"


def test_our_own_name_is_always_allowed() -> None:
    tls = models.TlsSettings(allowed_names=("demo-app",))
    assert tls_files(tls, Operator("hd-1")).allowed_names == ("hd-1", "demo-app")
    assert tls_files(tls).allowed_names == ("demo-app",)
    assert tls_files(models.TlsSettings(), Operator("hd-1")).allowed_names is None


def test_fingerprints_are_given_in_any_spelling() -> None:
    mark = "AB:" * 31 + "CD"
    tls = models.TlsSettings(allowed_fingerprints=(mark,))
    assert tls_files(tls).allowed_fingerprints == ("ab" * 31 + "cd",)


def test_certificates_of_ours_are_those_that_settings_name(tmp_path: Path) -> None:
    """Every one of them; a file that can't be used, which stands nowhere else, is none."""
    authority = Authority.create(fast=True)
    issued = {name: authority.issue_tls(name) for name in ("a", "b", "c")}
    for name, certificate in issued.items():
        certificate.write(tmp_path, name)
    (tmp_path / "broken.crt").write_text("no certificate")

    def tls(name: str) -> dict[str, str]:
        return {"certificate_file": str(tmp_path / f"{name}.crt"), "key_file": str(tmp_path / f"{name}.key")}

    channels = (
        models.GrpcClientSettings.model_validate({"tls": {**tls("a"), "ca_certificate_files": ["x"]}}),
        models.JsonRpcClientSettings.model_validate({"endpoint": "https://x", "tls": tls("b")}),
        models.JsonRpcClientSettings.model_validate({"endpoint": "https://x", "tls": tls("broken")}),
        models.JsonRpcClientSettings.model_validate({"endpoint": "https://x", "tls": tls("absent")}),
        models.JsonRpcClientSettings.model_validate({"endpoint": "https://x"}),
    )
    assert own_fingerprints(*channels) == {issued["a"].fingerprint, issued["b"].fingerprint}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no such file"):
        read_file(str(tmp_path / "x"), "tls.key_file")
    with pytest.raises(StartError, match="Is a directory"):
        read_file(str(tmp_path), "tls.key_file")


def test_settings_come_from_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is doubtful about them is logged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPS_SETTINGS", "eps.yml")
    (tmp_path / "eps.yml").write_text("name: hd-1\nunknown: 1\ndirectory: {type: json, settings: {path: .}}\n")
    events = Events()
    assert settings_from(load_eps, events).settings.name == "hd-1"
    (warning,) = events.of(Notice)
    assert (warning.level, warning.text.startswith("eps.yml: unknown")) == (Level.WARN, True)


@pytest.mark.parametrize(
    ("kind", "level", "text"),
    [
        ("superfluous", Level.WARN, "own.crt: not needed on the way from hd-1 to its authority"),
        ("readable", Level.WARN, "own.key: every user of this machine may read this private key"),
        ("leaf alone", Level.ERROR, "own.crt does not lead to any of the CAs named beside it"),
        ("another CA's", Level.ERROR, "own.crt does not lead to any of the CAs named beside it"),
        ("another name", Level.ERROR, "own.crt is for hd-2, *.hd-2.local, not for hd-1"),
    ],
)
def test_a_start_says_once_what_config_check_says_of_certificates(
    kind: str, level: Level, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And goes on: whom peers trust is theirs to say."""
    authority, stranger = Authority.create(fast=True), Authority.create(fast=True)
    (tmp_path / "ca.crt").write_bytes(authority.root_pem)
    issuer = stranger if kind == "another CA's" else authority
    issued = issuer.issue_tls("hd-2" if kind == "another name" else "hd-1")
    own = issued.leaf_pem if kind == "leaf alone" else issued.cert_pem
    (tmp_path / "own.crt").write_bytes(own + stranger.root_pem * (kind == "superfluous"))
    (tmp_path / "own.key").write_bytes(issued.key_pem)
    (tmp_path / "own.key").chmod(0o644 if kind == "readable" else 0o600)
    tls = "{ca_certificate_files: [ca.crt], certificate_file: own.crt, key_file: own.key}"
    channels = ", ".join(f"{{type: grpc_{side}, settings: {{tls: {tls}}}}}" for side in ("server", "client"))
    (tmp_path / "eps.yml").write_text(
        f"name: hd-1\ndirectory: {{type: json, settings: {{path: .}}}}\nchannels: [{channels}]"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPS_SETTINGS", "eps.yml")
    events = Events()
    settings_from(load_eps, events)
    (told,) = events.of(Notice)
    assert (told.level, told.text.startswith(f"{tmp_path}/{text}")) == (level, True), told.text
    (problem,) = check("eps", {"EPS_SETTINGS": "eps.yml"}, tmp_path).problems
    assert (problem.severity, problem.text, problem.hint) == (level.replace("warn", "warning"), told.text, told.hint)


def test_what_has_expired_is_told_daily_while_a_start_leaves_it_to_its_one_line(tmp_path: Path) -> None:
    """And a file that can't be read hides nothing from the daily lines."""
    authority, ended = Authority.create(fast=True), datetime.now(UTC) - timedelta(days=1)
    (tmp_path / "root.crt").write_bytes(authority.root_pem)
    authority.issue_tls("hd-1", not_before=ended - timedelta(days=9), not_after=ended).write(tmp_path, "old")

    def tls(name: str) -> dict[str, object]:
        files = {"certificate_file": str(tmp_path / f"{name}.crt"), "key_file": str(tmp_path / f"{name}.key")}
        return {**files, "ca_certificate_files": [str(tmp_path / "root.crt")]}

    kinds = {"absent": "grpc_server", "old": "grpc_client"}
    channels = [{"name": name, "type": kind, "settings": {"tls": tls(name)}} for name, kind in kinds.items()]
    directory = {"type": "json", "settings": {"path": str(tmp_path)}}
    settings = models.EpsSettings.model_validate(
        {"name": "hd-1", "state_path": str(tmp_path), "directory": directory, "channels": channels}
    )
    starting, running = Events(), Events()
    settings_from(lambda *_: Loaded(settings, ()), starting)
    assert [notice for notice in starting.of(Notice) if ".crt" in notice.text] == []
    tell_of_certificates(settings, running)
    told = [(notice.level, notice.text) for notice in running.of(Notice)]
    assert any("old.crt: the certificate of hd-1 has expired" in text for _, text in told), told
    assert any("absent.crt" in text for _, text in told), told
    assert {level for level, _ in told} == {Level.ERROR}
