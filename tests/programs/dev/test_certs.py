"""``make certs``: everything section 1 names, in little time, and a network without a past."""

import fcntl
import json
import os
import shutil
import ssl
import stat
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from eps.core.certificate import fingerprint_of, subject_of
from eps.errors import StartError
from eps.pki import Authority
from eps.programs.admin.check import check
from eps.programs.dev import certs as dev_certs
from eps.programs.dev.certs import NAMES, make_dev_certs

ROOT = Path(__file__).parents[3]

PROGRAMS = {"sd-1": "sd", "public-proxy-1": "proxy", "private-proxy-1": "proxy"}


def copy_trees(folder: Path) -> None:
    for tree in ("dev", "test"):
        shutil.copytree(ROOT / "settings" / tree / "roles", folder / "settings" / tree / "roles")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], float]:
    """A tree with new certificates, what was told, and the CPU seconds that it took."""
    folder = tmp_path_factory.mktemp("repository")
    copy_trees(folder)
    told: list[str] = []
    began = time.process_time()
    make_dev_certs(folder, told.append)
    return folder, told, time.process_time() - began


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree without certificates; keys are quick ones."""
    monkeypatch.setattr(dev_certs.Authority, "create", lambda create=Authority.create: create(fast=True))
    copy_trees(tmp_path)
    return tmp_path


def certificates(folder: Path, tree: str, name: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates((folder / "settings" / tree / "certs" / f"{name}.crt").read_bytes())


def test_time(made: tuple[Path, list[str], float]) -> None:
    assert made[2] < 10


def test_files(made: tuple[Path, list[str], float]) -> None:
    folder = made[0]
    expected = {"root.crt", "intermediate.crt", "intermediate.key"}
    for name in NAMES:
        for suffix in ("", "-sign", "-alt", "-sign-alt"):
            expected |= {f"{name}{suffix}.crt", f"{name}{suffix}.key"}
    for tree in ("dev", "test"):
        certs = folder / "settings" / tree / "certs"
        assert {path.name for path in certs.iterdir()} == expected
        assert {stat.S_IMODE(path.stat().st_mode) for path in certs.glob("*.key")} == {0o600}
        assert {path.name for path in certs.parent.iterdir()} == {"roles", "certs", "directory"}


def test_certificates(made: tuple[Path, list[str], float]) -> None:
    folder = made[0]
    fingerprints = set()
    for tree in ("dev", "test"):
        root, intermediate = certificates(folder, tree, "root")[0], certificates(folder, tree, "intermediate")[0]
        for name in NAMES:
            for suffix in ("", "-alt"):
                leaf, issuer = certificates(folder, tree, f"{name}{suffix}")
                assert issuer == intermediate
                intermediate.verify_directly_issued_by(root)
                leaf.verify_directly_issued_by(intermediate)
                key = leaf.public_key()
                assert isinstance(key, rsa.RSAPublicKey)
                assert key.key_size == 2048
                signing = certificates(folder, tree, f"{name}-sign{suffix}")[0]
                assert subject_of(signing).name == name
                uris = signing.extensions.get_extension_for_class(
                    x509.SubjectAlternativeName
                ).value.get_values_for_type(x509.UniformResourceIdentifier)
                assert uris[1] == ("iris-group://sd-admin" if name == "hd-1" else "iris-group://")
                fingerprints |= {fingerprint_of(leaf), fingerprint_of(signing)}
    assert len(fingerprints) == 2 * len(NAMES) * 4


def test_keys_fit(made: tuple[Path, list[str], float]) -> None:
    certs = made[0] / "settings" / "dev" / "certs"
    for path in certs.glob("hd-*.crt"):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, path.with_suffix(".key"))
    assert b"BEGIN EC PRIVATE KEY" in (certs / "hd-1-sign.key").read_bytes()


def test_fingerprints(made: tuple[Path, list[str], float]) -> None:
    folder = made[0]
    for tree in ("dev", "test"):
        text = (folder / "settings" / tree / "directory" / "002_certificates.json").read_text()
        records = json.loads(text)["records"]
        assert [record["name"] for record in records] == list(NAMES)
        for record in records:
            name = record["name"]
            assert record["section"] == "certificates"
            assert record["data"] == [
                {"fingerprint": fingerprint_of(certificates(folder, tree, f"{name}-sign")[0]), "key_usage": "signing"},
                {"fingerprint": fingerprint_of(certificates(folder, tree, name)[0]), "key_usage": "encryption"},
            ]


def test_what_is_told(made: tuple[Path, list[str], float]) -> None:
    assert made[1] == [
        "made the certificates in settings/dev/certs, by a new authority",
        "wrote their fingerprints to settings/dev/directory/002_certificates.json",
        "made the certificates in settings/test/certs, by a new authority",
        "wrote their fingerprints to settings/test/directory/002_certificates.json",
        "the directory is empty now: start the service directory, then run "
        "EPS_SETTINGS=settings/dev/roles/hd-1 eps sd submit-records --reset settings/dev/directory",
    ]


@pytest.mark.parametrize("tree", ["dev", "test"])
def test_the_settings_are_fine_with_them(made: tuple[Path, list[str], float], tree: str) -> None:
    folder = made[0]
    for role in (folder / "settings" / tree / "roles").iterdir():
        program = PROGRAMS.get(role.name, "eps")
        report = check(program, {f"{program.upper()}_SETTINGS": f"settings/{tree}/roles/{role.name}"}, folder)
        assert report.problems == ()
        assert report.certificates


def test_again_removes_the_old_state(quick: Path) -> None:
    make_dev_certs(quick, lambda line: None)
    before = certificates(quick, "dev", "hd-1")
    for name in (".eps/sd-1/records.sqlite", ".eps/sd-1/records.sqlite.lock", ".eps/test/hd-1/x", ".eps/mine/x"):
        (quick / name).parent.mkdir(parents=True, exist_ok=True)
        (quick / name).touch()
    told: list[str] = []
    make_dev_certs(quick, told.append)
    assert certificates(quick, "dev", "hd-1") != before
    assert [str(path.relative_to(quick)) for path in sorted((quick / ".eps").rglob("*")) if path.is_file()] == [
        ".eps/mine/x"
    ]
    assert told[-2] == (
        "removed the old network's state, which the new authority makes worthless: .eps/sd-1, .eps/test/hd-1"
    )


@pytest.mark.parametrize("same", ["other", "hd-1/../hd-1"])
def test_two_roles_with_one_state_are_no_server_that_runs(quick: Path, same: str) -> None:
    """As the tutorial's hd-1-wrong, a copy of hd-1, where nobody removes it."""
    roles = quick / "settings" / "dev" / "roles"
    shutil.copytree(roles / "hd-1", roles / "other")
    (roles / "other" / "009_state.json").write_text(json.dumps({"state_path": f".eps/{same.replace('other', 'hd-1')}"}))
    (quick / ".eps" / "hd-1").mkdir(parents=True)
    (quick / ".eps" / "hd-1" / "records.sqlite.lock").touch()
    told: list[str] = []
    make_dev_certs(quick, told.append)
    assert told[-2].startswith("removed the old network's state") and not (quick / ".eps" / "hd-1").exists()


def test_refused_while_a_server_is_running(quick: Path) -> None:
    make_dev_certs(quick, lambda line: None)
    before = certificates(quick, "dev", "hd-1")
    state = quick / ".eps" / "sd-1"
    state.mkdir(parents=True)
    with (state / "records.sqlite.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StartError, match=r"a server is running on .*/\.eps/sd-1 \(stop the development network"):
            make_dev_certs(quick, lambda line: None)
    assert state.exists()
    assert certificates(quick, "dev", "hd-1") == before
    make_dev_certs(quick, lambda line: None)
    assert not state.exists()


@pytest.mark.parametrize("state", ["/tmp", "..", ".eps", "state", ".eps/../x", 5, None])
def test_only_state_inside_the_repository_is_removed(quick: Path, state: object) -> None:
    for tree in ("dev", "test"):
        for role in (quick / "settings" / tree / "roles").iterdir():
            shutil.rmtree(role)
        role.mkdir()
        (role / "x.json").write_text(json.dumps({"state_path": state}))
    (quick / "state").mkdir()
    (quick / "x").mkdir()
    (quick / ".eps" / "other").mkdir(parents=True)
    make_dev_certs(quick, lambda line: None)
    assert (quick / "state").exists()
    assert (quick / "x").exists()
    assert (quick / ".eps" / "other").exists()


def test_no_tree(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="there is no settings/dev/roles in"):
        make_dev_certs(tmp_path, lambda line: None)


def test_one_tree_is_enough(quick: Path) -> None:
    shutil.rmtree(quick / "settings" / "test")
    told: list[str] = []
    make_dev_certs(quick, told.append)
    assert len(told) == 3


def test_nothing_is_replaced_when_writing_fails(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_dev_certs(quick, lambda line: None)
    before = certificates(quick, "dev", "hd-1")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device", "/x/y")

    monkeypatch.setattr(dev_certs, "_write", full)
    with pytest.raises(StartError, match="can't write /x/y: No space left on device"):
        make_dev_certs(quick, lambda line: None)
    assert certificates(quick, "dev", "hd-1") == before
    assert {path.name for path in (quick / "settings" / "dev").iterdir()} == {"roles", "certs", "directory"}


def test_a_folder_that_cannot_be_written(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> str:
        raise PermissionError(13, "Permission denied", os.fspath(quick))

    monkeypatch.setattr(dev_certs.tempfile, "mkdtemp", refuse)
    with pytest.raises(StartError, match=r"can't write .*: Permission denied"):
        make_dev_certs(quick, lambda line: None)
