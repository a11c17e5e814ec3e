"""``eps cert renew``: a certificate is replaced step by step, and no call fails.

    request → (the authority signs) → pin both → (submitted; everybody has it) → switch → pin the new one only → done

Each run looks at the files and the directory, does the one step whose turn it is, and says what comes next. So it can
be broken off anywhere, and run by whoever comes along. ``acme.crt`` is renewed by way of ``acme-new.crt``; what was in
use before lies in ``acme-old.crt`` until nobody needs it.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from pathlib import Path

from cryptography import x509

from eps.core.certificate import fingerprint_of, fits, signing_flaw, subject_of, tls_key_flaw
from eps.core.chain import Chain
from eps.core.instant import parse_instant
from eps.core.names import shown
from eps.core.wording import counted
from eps.errors import SettingsError, StartError
from eps.pki import write_key
from eps.programs.admin import own_certificates as certs
from eps.programs.admin.commands import api_settings, directory_of, own_settings
from eps.programs.admin.operators import CONNECTIONS, SIGNATURES, connection_files
from eps.programs.admin.own_records import as_file, pins_record
from eps.programs.admin.plan import asked_chain
from eps.programs.admin.set_back import OwnServer
from eps.programs.wiring.credentials import directory_trust
from eps.programs.wiring.parts import now
from eps.settings import EpsSettings

SPREADS_SECONDS = 60
"""From a record's date until every server has it: those in use ask for news once a minute."""


class Step(Enum):
    """What the next run does."""

    REQUEST = auto()
    AWAIT_CERTIFICATE = auto()
    PIN_BOTH = auto()
    AWAIT_SPREAD = auto()
    SWITCH = auto()
    PIN_NEW = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class Situation:
    """What is there.

    Attributes:
        has_request: the new key has been made.
        new, old: fingerprints of the certificate that is to come, and of the one that was in use; empty: no such file.
        pins: fingerprints that the directory has for this use.
        pinned_for: how long ago the directory's record was made.
    """

    has_request: bool
    new: str
    old: str
    pins: frozenset[str]
    pinned_for: timedelta


def next_step(there: Situation) -> Step:
    """Whose turn it is."""
    if there.new:
        if there.new not in there.pins:
            return Step.PIN_BOTH
        has_spread = there.pinned_for >= timedelta(seconds=SPREADS_SECONDS)
        return Step.SWITCH if has_spread else Step.AWAIT_SPREAD
    if there.has_request:
        return Step.AWAIT_CERTIFICATE
    if there.old:
        return Step.PIN_NEW if there.old in there.pins else Step.DONE
    return Step.REQUEST


@dataclass(frozen=True, slots=True)
class Files:
    """Those of one certificate: in use, to come, and of before."""

    certificate: Path
    key: Path

    @property
    def new(self) -> "Files":
        return Files(_beside(self.certificate, "-new"), _beside(self.key, "-new"))

    @property
    def old(self) -> "Files":
        return Files(_beside(self.certificate, "-old"), _beside(self.key, "-old"))

    @property
    def request(self) -> Path:
        return self.new.key.with_suffix(".csr")

    @property
    def records(self) -> Path:
        """Where the records to submit are written."""
        return self.certificate.with_name(f"{self.certificate.stem}-pins.json")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.stem}{suffix}{path.suffix}")


@dataclass(frozen=True, slots=True)
class Pinned:
    """The section ``certificates`` of our entry: key usage and fingerprint of each, and when it was made."""

    pins: tuple[tuple[str, str], ...]
    made: datetime

    def of(self, usage: str) -> frozenset[str]:
        return frozenset(fingerprint for each, fingerprint in self.pins if each == usage)


async def renew(certificate: str, *, signing: bool) -> int:
    """``eps cert renew``: does one step and says what comes next.

    Args:
        certificate: of several that the settings name, which; empty: there is one.

    Raises:
        EpsError: the settings, a file or the directory can't be read, or the new certificate is not fit.
    """
    settings = own_settings()
    files = chosen(settings, certificate, signing=signing)
    usage = SIGNATURES if signing else CONNECTIONS
    trust = directory_trust(api_settings(settings))
    async with directory_of(settings) as calls:
        pinned = pinned_by(await asked_chain(calls, OwnServer(trust=trust), now()), settings.name)
    print(Renewal(settings.name, files, usage, pinned).run(now()))
    return 0


def chosen(settings: EpsSettings, certificate: str, *, signing: bool) -> Files:
    """Which certificate is renewed.

    Raises:
        SettingsError: the settings name none, or several and not that one.
    """
    if signing:
        if settings.signing is None:
            raise SettingsError("the settings have no section «signing»", hint="there is nothing to renew")
        return Files(_from_here(settings.signing.certificate_file), _from_here(settings.signing.key_file))
    found = connection_files(settings)
    wanted = [pair for pair in found if not certificate or Path(pair[0]).resolve() == Path(certificate).resolve()]
    if len(wanted) != 1:
        names = ", ".join(pair[0] for pair in found)
        raise SettingsError(f"the settings name {names}", hint="say which one: --certificate FILE")
    return Files(_from_here(wanted[0][0]), _from_here(wanted[0][1]))


def _from_here(name: str) -> Path:
    """A file as people name it who stand in the working directory: messages hold what they can type."""
    path = Path(name)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def pinned_by(chain: Chain, name: str) -> Pinned:
    """What the directory pins for an operator.

    Raises:
        SettingsError: nothing: the operator isn't in it.
    """
    found = [one.record for one in chain.records if (one.record.name, one.record.section) == (name, "certificates")]
    if not found:
        hint = "eps operator records prints the entry to submit first; there is nothing to renew before"
        raise SettingsError(f"the directory has no certificates of {name}", hint=hint)
    pins = tuple((str(pin.get("key_usage")), str(pin.get("fingerprint"))) for pin in found[-1].data)
    return Pinned(pins, parse_instant(found[-1].created_at).time)


class Renewal:
    """One run: what is there, and what is done about it."""

    def __init__(self, name: str, files: Files, usage: str, pinned: Pinned) -> None:
        self._name = name
        self._files = files
        self._usage = usage
        self._pinned = pinned

    def run(self, at: datetime) -> str:
        """Do what is next; what to tell."""
        files = self._files
        there = Situation(
            files.new.key.exists(),
            self._fit(files.new) if files.new.key.exists() and files.new.certificate.exists() else "",
            _fingerprint(files.old.certificate),
            self._pinned.of(self._usage),
            at - self._pinned.made,
        )
        try:
            if self._is_half_switched():
                return self._complete_switch()
            match next_step(there):
                case Step.REQUEST:
                    return self._request()
                case Step.AWAIT_CERTIFICATE:
                    return (
                        f"waiting for {files.new.certificate}: have the network's authority sign {files.request}, put "
                        "what it gives you there (yours, then the intermediates), and run this again"
                    )
                case Step.PIN_BOTH:
                    return self._pin([*self._pinned.pins, (self._usage, there.new)], "both certificates")
                case Step.AWAIT_SPREAD:
                    left = SPREADS_SECONDS - int(there.pinned_for.total_seconds())
                    return (
                        f"both are pinned, not every server knows it yet: run this again in {counted(left, 'second')}"
                    )
                case Step.SWITCH:
                    return self._switch()
                case Step.PIN_NEW:
                    kept = [pin for pin in self._pinned.pins if pin != (self._usage, there.old)]
                    return self._pin(kept, "the new certificate only")
                case Step.DONE:
                    return self._finish()
        except OSError as error:
            hint = "run this as a user who may write there"
            raise StartError(f"can't write {error.filename}: {error.strerror}", hint=hint) from None

    def _fit(self, new: Files) -> str:
        """The new certificate's fingerprint; raises StartError if it can't take the present one's place."""
        leaf, present = _leaf(new.certificate), _leaf(self._files.certificate)
        if not fits(certs.read_key(new.key, "the new certificate"), leaf):
            raise StartError(f"{new.certificate} does not fit the key in {new.key}", hint="was another request signed?")
        subject, signing = subject_of(leaf), self._usage == SIGNATURES
        flaw = signing_flaw(leaf) if signing else tls_key_flaw(leaf)
        is_ours = subject.name == self._name if signing else self._name in subject.tls_names
        if not is_ours:
            flaw = f"is not a certificate of {self._name} (it has {shown(subject.tls_names)})"
        if flaw:
            raise StartError(f"{new.certificate} {flaw}", hint=f"have {self._files.request} signed as it is")
        if fingerprint_of(leaf) == fingerprint_of(present):
            raise StartError(f"{new.certificate} is the certificate that is in use", hint="put the new one there")
        return fingerprint_of(leaf)

    def _request(self) -> str:
        leaf, files = _leaf(self._files.certificate), self._files
        subject, signing = subject_of(leaf), self._usage == SIGNATURES
        names = subject.groups if signing else subject.dns_names
        wanted = certs.Request(self._name, signing, names, quick=certs.same_kind_of_key(leaf))
        certs.make_request(wanted, files.key.parent, files.new.key.stem)
        return (
            f"wrote {files.new.key}, which stays here, and {files.request}\n"
            f"next: have the network's authority sign it, put what it gives you into {files.new.certificate} "
            "(yours, then the intermediates), and run this again"
        )

    def _pin(self, pins: Sequence[tuple[str, str]], what: str) -> str:
        self._files.records.write_text(as_file([pins_record(self._name, pins)]))
        return (
            f"wrote {self._files.records}, which pins {what}\n"
            "next: have the directory's administrator submit it (eps sd submit-records), and run this again"
        )

    def _switch(self) -> str:
        files = self._files
        for present, coming, kept in (
            (files.key, files.new.key, files.old.key),
            (files.certificate, files.new.certificate, files.old.certificate),
        ):
            _keep(present, kept)
            _give_rights_of(present, coming)
        os.replace(files.new.key, files.key)  # when nothing else can fail
        return self._complete_switch()

    def _is_half_switched(self) -> bool:
        """Whether a run was broken off between the key and its certificate."""
        files = self._files
        if files.new.key.exists() or not (files.new.certificate.exists() and files.old.certificate.exists()):
            return False
        key = certs.read_key(files.key, "the key")
        return fits(key, _leaf(files.new.certificate)) and not fits(key, _leaf(files.certificate))

    def _complete_switch(self) -> str:
        files = self._files
        os.replace(files.new.certificate, files.certificate)
        files.request.unlink(missing_ok=True)
        return (
            f"{files.certificate} is the new one now, with its key; the old ones are {files.old.certificate.name} and "
            f"{files.old.key.name}\n"
            "next: the running server takes it over within 10 s. When its log says «all connections with other "
            "operators are renewed», run this again"
        )

    def _finish(self) -> str:
        for file in (self._files.old.certificate, self._files.old.key, self._files.records):
            file.unlink(missing_ok=True)
        return f"done: the directory pins {self._files.certificate} only; the old certificate and its key are removed"


def _keep(present: Path, kept: Path) -> None:
    """Have a copy of a file, with its rights: there is no moment without the file itself."""
    write_key(kept, present.read_bytes())
    shutil.copymode(present, kept)


def _give_rights_of(present: Path, coming: Path) -> None:
    """The server must be able to read the new file as it could the one before."""
    shutil.copymode(present, coming)
    was = present.stat()
    if (was.st_uid, was.st_gid) != (coming.stat().st_uid, coming.stat().st_gid):
        os.chown(coming, was.st_uid, was.st_gid)


def _leaf(file: Path) -> x509.Certificate:
    return certs.read_chain(file)[0]


def _fingerprint(file: Path) -> str:
    return fingerprint_of(_leaf(file)) if file.exists() else ""
