"""``eps cert renew``: which step is next, and each of them, with a directory that does what records say."""

import json
import stat
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from eps.core.certificate import fingerprint_of, subject_of
from eps.core.chain import Chain
from eps.errors import SettingsError, StartError
from eps.pki import Authority
from eps.programs.admin import renewal
from eps.programs.admin.own_certificates import read_chain
from eps.programs.admin.renewal import SPREADS_SECONDS, Files, Pinned, Renewal, Situation, Step, next_step, pinned_by
from support.record_tools import ADMIN, NOW, group_record, sign_chain, signing_pin_record, trust

LATER = timedelta(seconds=SPREADS_SECONDS)
AUTHORITY = Authority.create(fast=True, now=NOW)


@pytest.mark.parametrize(
    ("there", "step"),
    [
        (Situation(False, "", "", frozenset({"now"}), LATER), Step.REQUEST),
        (Situation(True, "", "", frozenset({"now"}), LATER), Step.AWAIT_CERTIFICATE),
        (Situation(True, "new", "", frozenset({"now"}), LATER), Step.PIN_BOTH),
        (Situation(True, "new", "", frozenset({"now", "new"}), LATER / 2), Step.AWAIT_SPREAD),
        (Situation(True, "new", "", frozenset({"now", "new"}), LATER), Step.SWITCH),
        (Situation(False, "", "old", frozenset({"now", "old"}), LATER), Step.PIN_NEW),
        (Situation(False, "", "old", frozenset({"now"}), LATER), Step.DONE),
        (Situation(True, "", "old", frozenset({"now"}), LATER), Step.AWAIT_CERTIFICATE),
    ],
    ids=lambda value: value.name if isinstance(value, Step) else "",
)
def test_the_next_step(there: Situation, step: Step) -> None:
    assert next_step(there) is step


@dataclass
class Office:
    """An operator's folder, and a directory whose administrator submits what is handed over."""

    folder: Path
    usage: str = "encryption"
    pinned: Pinned = field(default_factory=lambda: Pinned((), NOW))

    def __post_init__(self) -> None:
        issued = AUTHORITY.issue_tls("acme") if self.usage == "encryption" else AUTHORITY.issue_signing("acme", ["g"])
        issued.write(self.folder, "acme")
        self.files = Files(self.folder / "acme.crt", self.folder / "acme.key")
        self.pinned = Pinned((("signing", "5" * 64), (self.usage, issued.fingerprint)), NOW)
        self.first = issued.fingerprint

    def run(self, after: timedelta = LATER) -> str:
        return Renewal("acme", self.files, self.usage, self.pinned).run(NOW + after)

    def sign(self) -> None:
        request = x509.load_pem_x509_csr(self.files.request.read_bytes())
        self.files.new.certificate.write_bytes(AUTHORITY.sign_request(request))

    def submit(self) -> None:
        (record,) = json.loads(self.files.records.read_text())["records"]
        assert (record["name"], record["section"]) == ("acme", "certificates")
        self.pinned = Pinned(tuple((pin["key_usage"], pin["fingerprint"]) for pin in record["data"]), NOW)

    @property
    def shown(self) -> str:
        return fingerprint_of(read_chain(self.files.certificate)[0])


@pytest.mark.parametrize("usage", ["encryption", "signing"])
def test_from_one_certificate_to_the_next(tmp_path: Path, usage: str) -> None:
    office = Office(tmp_path, usage)
    office.files.key.chmod(0o640)
    assert "have the network's authority sign it" in office.run()
    assert stat.S_IMODE(office.files.new.key.stat().st_mode) == 0o600
    assert "waiting for" in office.run() and office.shown == office.first
    office.sign()
    assert "pins both certificates" in office.run()
    office.submit()
    assert len(office.pinned.pins) == 3 and office.pinned.pins[0] == ("signing", "5" * 64)
    assert "run this again in 50 seconds" in office.run(timedelta(seconds=10)) and office.shown == office.first
    assert "is the new one now" in office.run()
    assert office.shown == office.pinned.pins[2][1] != office.first
    assert stat.S_IMODE(office.files.key.stat().st_mode) == 0o640
    assert "pins the new certificate only" in office.run()
    office.submit()
    assert office.pinned.pins == (("signing", "5" * 64), (usage, office.shown))
    assert office.run().startswith("done")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["acme.crt", "acme.key"]


@pytest.mark.parametrize("usage", ["encryption", "signing"])
def test_the_new_certificate_has_the_names_of_the_old(tmp_path: Path, usage: str) -> None:
    office = Office(tmp_path, usage)
    before = subject_of(read_chain(office.files.certificate)[0])
    office.run()
    office.sign()
    after = subject_of(read_chain(office.files.new.certificate)[0])
    assert (after.tls_names, after.name, after.groups) == (before.tls_names, before.name, before.groups)


def test_a_certificate_for_another_key_is_not_pinned(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.run()
    office.files.new.certificate.write_bytes(AUTHORITY.issue_tls("acme").cert_pem)
    with pytest.raises(StartError, match=r"acme-new\.crt does not fit the key in .*acme-new\.key"):
        office.run()


@pytest.mark.parametrize(
    ("usage", "name", "says"),
    [
        ("encryption", "other", r"is not a certificate of acme \(it has other"),
        ("signing", "other", "is not a certificate of acme"),
        ("signing", "acme", "is not a certificate of acme"),
    ],
    ids=["another's", "another signer's", "no signer's"],
)
def test_a_certificate_that_can_not_take_its_place_is_not_pinned(
    tmp_path: Path, usage: str, name: str, says: str
) -> None:
    office = Office(tmp_path, usage)
    office.run()
    AUTHORITY.issue_tls(name).write(tmp_path, "acme-new")
    with pytest.raises(StartError, match=says):
        office.run()


def test_the_certificate_in_use_is_no_new_one(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.files.new.certificate.write_bytes(office.files.certificate.read_bytes())
    office.files.new.key.write_bytes(office.files.key.read_bytes())
    with pytest.raises(StartError, match="is the certificate that is in use"):
        office.run()


def test_what_can_not_be_written_is_told(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.run()
    office.sign()
    office.files.records.mkdir()
    with pytest.raises(StartError, match=r"can't write .*acme-pins\.json: Is a directory"):
        office.run()


def test_what_the_directory_pins() -> None:
    records = sign_chain([signing_pin_record(ADMIN), group_record("acme", "x")])
    chain = Chain.empty(trust()).extend(records, NOW)
    assert pinned_by(chain, "admin") == Pinned((("signing", str(ADMIN.subject.fingerprint)),), NOW)
    with pytest.raises(SettingsError, match="the directory has no certificates of acme"):
        pinned_by(chain, "acme")


def ready_to_switch(folder: Path) -> Office:
    office = Office(folder)
    office.run()
    office.sign()
    office.run()
    office.submit()
    return office


def test_nothing_is_switched_before_all_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    office = ready_to_switch(tmp_path)
    before = office.files.key.read_bytes()

    def refuse(present: Path, coming: Path) -> None:
        if coming == office.files.new.certificate:
            raise PermissionError(1, "Operation not permitted", str(coming))

    with monkeypatch.context() as patched:
        patched.setattr(renewal, "_give_rights_of", refuse)
        with pytest.raises(StartError, match=r"can't write .*acme-new\.crt: Operation not permitted"):
            office.run()
    assert (office.files.key.read_bytes(), office.shown) == (before, office.first)
    assert "is the new one now" in office.run() and office.shown != office.first


def test_a_switch_that_was_broken_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    office = ready_to_switch(tmp_path)

    def die(_: Renewal) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Renewal, "_complete_switch", die)
        with pytest.raises(KeyboardInterrupt):
            office.run()
    assert not office.files.new.key.exists() and office.shown == office.first
    assert "is the new one now" in office.run() and office.shown != office.first
    assert "pins the new certificate only" in office.run()
