"""The chain of signed records: which directory is the true one (PROTOCOL.md section 4).

Theory of operation. A ``Chain`` is a value: what was verified, and the directory that follows from it. ``extend`` makes
a longer one or refuses, whole or not at all. A record is judged by those before it: its parent is the one directly
before, and its signer must use the certificate that the chain so far pins. So what was verified once need never be
verified again, and extending costs what the new records cost.

Verifying takes a tenth to half of a millisecond each. An event loop that must go on meanwhile uses the generators
(``extending``, ``submitting``, ``accepting``): each step does one slice and yields the chain so far; only the last
is whole. What depends on a record alone may have been verified elsewhere (``core.soundness``).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from eps.core.age import spoken
from eps.core.canonical_use import NO_USE, CanonicalUse
from eps.core.certificate import CLOCK_TOLERANCE, Subject
from eps.core.entries import Directory, Entry
from eps.core.instant import nanoseconds_of
from eps.core.names import Fingerprint, Operator, RecordHash
from eps.core.new_root import AT_SUBMISSION, TrustedRoot, TrustedRoots, advice, pins_a_signer, root_flaw
from eps.core.record import NO_PARENT, ChangeRecord, SignedRecord, signed_payload
from eps.core.sections import Mark
from eps.core.shared_records import Records
from eps.core.signature import TrustStore, verify
from eps.core.soundness import NOBODY_LOOKED, Sound
from eps.core.structure import structured_bytes
from eps.core.verdict import REPLACED, Use, Verdict, judge, unfit
from eps.core.wording import counted
from eps.errors import RecordError, StaleRecord
from eps.reasons import Reason

Admit = Callable[[ChangeRecord, bytes], str]
"""Says why a record, whose bytes are given, may not enter a chain; "" if it may. ``verdict.unfit`` is one."""

ADMIN_GROUP = "sd-admin"
"""Whose certificate names this group may change the directory."""

VERIFIED_AT_ONCE = 50
"""Records per step: some 5 to 25 ms, so that an event loop is never held for more than 50 ms on a slow machine."""

SOUND_AT_ONCE = 10 * VERIFIED_AT_ONCE
"""Of those that are known to be sound; as long."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Records that were verified, from the root to the tip.

    Attributes:
        pinned: whether one of them was signed with a certificate that those before it pin for its signer.
        canonical: who signs canonically, and whether that is demanded; known also of the chains that this replaced.
        odd: the indices of records that do not simply replace their section.
    """

    trust: TrustStore
    records: Records = field(default_factory=Records, repr=False)
    directory: Directory = field(default_factory=Directory.empty, repr=False)
    pinned: bool = False
    canonical: CanonicalUse = NO_USE
    odd: tuple[int, ...] = ()

    @classmethod
    def empty(cls, trust: TrustStore) -> "Chain":
        return cls(trust)

    @property
    def root(self) -> SignedRecord | None:
        return self.records[0] if self.records else None

    @property
    def tip(self) -> RecordHash:
        """The last record's hash; empty for an empty chain."""
        return self.records[-1].hash if self.records else NO_PARENT

    # Growing

    def extend(
        self,
        records: Sequence[SignedRecord],
        now: datetime,
        *,
        first: int = 0,
        admit: Admit | None = None,
        sound: Sound = NOBODY_LOOKED,
    ) -> "Chain":
        """The chain with ``records`` behind its tip (from a root on, if it is empty).

        What is in a chain is followed, also if it can't be used: ``core.verdict`` says what becomes of its section.

        Args:
            now: the time (with a time zone) beyond which no root may be dated.
            first: the index of ``records[0]`` in the submitted list, for the message.
            admit: of records that are not in a chain yet: says why one may not enter. Then none may be dated ahead, and
                all is looked at here.
            sound: those of which only what the chain says is left to be looked at.

        Raises:
            RecordError: one of them is not to be believed; this chain stays as it is.
        """
        changed: dict[Operator, Entry] = {}
        tip, pinned, canonical, starter = self.tip, self.pinned, self.canonical, self._starter
        odd = list(self.odd)
        for index, signed in enumerate(records, first):
            try:
                is_sound = admit is None and signed in sound
                data = b"" if is_sound else structured_bytes(signed.record.to_json())
                _check_parent(signed, tip, signed.hash if is_sound else sha256(data).hexdigest())
                signer = _check_signature(signed, now, self.trust, ahead=admit is None, is_sound=is_sound)
                entry = changed.get(signer.name) or self.directory.entry(signer.name)
                is_pinned = _check_pin(signer, entry)
                starter = starter or signer.fingerprint
                if self.trust.pinned_only and not is_pinned and (pinned or signer.fingerprint != starter):
                    raise _unpinned(signer)
                pinned = pinned or is_pinned
                canonical = canonical.after(signed, signer.name, self.trust.canonical_from)
                if admit is not None:
                    _check_admission(admit(signed.record, data))
                verdict = REPLACED if is_sound else judge(signed.record, data)
            except RecordError as error:
                raise _refusal(error, index, signed) from None
            tip = signed.hash
            if verdict.use is not Use.REPLACED:
                odd.append(len(self.records) + index - first)
            if verdict.use is not Use.NONE:
                name = signed.record.name
                before = changed.get(name) or self.directory.entry(name) or Entry(name)
                changed[name] = _with(before, signed, verdict)
        directory = self.directory.replace(changed.values(), tip)
        return Chain(self.trust, self.records.grown(records), directory, pinned, canonical, tuple(odd))

    @property
    def _starter(self) -> Fingerprint | None:
        """The certificate that signed the root."""
        subject = self.trust.leaf(self.root.signature.c).subject if self.root else None
        return subject.fingerprint if subject else None

    def extending(
        self,
        records: Sequence[SignedRecord],
        now: datetime,
        admit: Admit | None = None,
        sound: Sound = NOBODY_LOOKED,
    ) -> Iterator["Chain"]:
        """:meth:`extend` in steps; yields the chain after each. Raises like it."""
        chain, first = self, 0
        while first < len(records):
            some = records[first : first + SOUND_AT_ONCE]
            if not (sound and all(signed in sound for signed in some)):
                some = some[:VERIFIED_AT_ONCE]
            chain = chain.extend(some, now, first=first, admit=admit, sound=sound)
            first += len(some)
            yield chain

    def replacing_root(
        self,
        records: Sequence[SignedRecord],
        now: datetime,
        admit: Admit | None = None,
        trusted: TrustedRoots = (),
        sound: Sound = NOBODY_LOOKED,
    ) -> Iterator["Chain"]:
        """The chain that starts with the root ``records[0]``, in place of this one, in steps.

        Yields the new chain after each.

        Args:
            trusted: the roots that were accepted by hand.

        Raises:
            RecordError: the root is not strictly newer than the present one, does not count (``core.new_root``), or
                the new chain does not verify.
        """
        if records:
            try:
                self._check_newer(records[0])
                self._check_root(records[0], now, trusted, submitted=admit is not None)
            except RecordError as error:
                raise _refusal(error, 0, records[0]) from None
        yield from Chain(self.trust, canonical=self.canonical).extending(records, now, admit, sound)

    def submitting(self, records: Sequence[SignedRecord], now: datetime, admit: Admit = unfit) -> Iterator["Chain"]:
        """The chain after a ``submitRecords``: a batch that starts with a root replaces, any other extends.

        In steps; yields the new chain after each.

        Args:
            admit: says why a record that is properly signed may not enter.

        Raises:
            StaleRecord: the first record follows another one than the tip.
            RecordError: refused for another reason. This chain stays as it is.
        """
        if not records:
            return iter(())
        self._check_place(records)
        if records[0].is_root:
            return self.replacing_root(records, now, admit)
        return self.extending(records, now, admit)

    def _check_place(self, records: Sequence[SignedRecord]) -> None:
        """Refuse what verification would let pass or could not name as well."""
        first, tip = records[0], self.tip
        if not first.is_root and first.parent_hash != tip:
            raise _stale(first, tip, f"record 0 ({first.record.name}, {first.record.section})")
        seen: set[RecordHash] = set()
        for index, signed in enumerate(records):
            # Equal hashes would make `getRecords after` ambiguous: a client could miss what lies between the two.
            if signed.hash in seen or (not first.is_root and self.records.position(signed.hash) is not None):
                raise RecordError(
                    f"record {index} ({signed.record.name}, {signed.record.section}) has the same content and date as "
                    "an earlier one",
                    index=index,
                    hint="give it a later created_at and sign it again",
                )
            seen.add(signed.hash)

    def _check_newer(self, root: SignedRecord) -> None:
        if self.root and root.record.instant.nanoseconds <= self.root.record.instant.nanoseconds:
            raise RecordError(
                f"a new root must be dated after the present one ({self.root.record.created_at}), "
                f"this one is of {root.record.created_at}",
                hint="sign it again, with the clock set right",
            )

    @property
    def _vouches(self) -> bool:
        """Whether this chain has a say in which root may replace it."""
        return pins_a_signer(self.directory) or (self.trust.pinned_only and self.pinned)

    def _check_root(self, root: SignedRecord, now: datetime, trusted: TrustedRoots, *, submitted: bool) -> None:
        """Refuse a root that the present chain does not vouch for, nor an administrator of ours."""
        signer = _check_signature(root, now, self.trust, ahead=False)
        if TrustedRoot(root.hash, signer.fingerprint) in trusted or not self._vouches:
            return
        valid = self.trust.valid(root.signature.c, now)
        if why := root_flaw(root, signer, self.directory, self.records[-1], valid_now=valid):
            raise RecordError(why, hint=AT_SUBMISSION if submitted else advice(root, signer))

    # Following

    def accepting(
        self,
        records: Sequence[SignedRecord],
        now: datetime,
        trusted: TrustedRoots = (),
        sound: Sound = NOBODY_LOOKED,
    ) -> Iterator["Chain"]:
        """The chain after an answer to ``getRecords`` with ``after`` = :attr:`tip`, in steps.

        An empty answer means that nothing is new. Records without a root extend the chain. A list with roots is a whole
        one and may hold several chains: the one with the newest root counts. It replaces this one if it has another
        root and that counts (:meth:`replacing_root`), and extends it if it has the same. Yields the new chain after
        each step, nothing if it stays.

        Args:
            trusted: the roots that were accepted by hand.

        Raises:
            RecordError: the answer is not to be believed; this chain stays as it is.
        """
        if not any(signed.is_root for signed in records):
            yield from self.extending(records, now, sound=sound)
            return
        newest = pick_newest_root(records)
        if self.root is None or newest[0].hash != self.root.hash:
            yield from self.replacing_root(newest, now, trusted=trusted, sound=sound)
            return
        yield from self.extending(self._continuation(newest), now, sound=sound)

    def _continuation(self, records: Sequence[SignedRecord]) -> Sequence[SignedRecord]:
        """What ``records``, a whole list from our root, holds behind our tip."""
        count, theirs = len(self.records), [record.hash for record in records[: len(self.records)]]
        if len(theirs) < count and theirs == [record.hash for record in self.records[: len(theirs)]]:
            raise RecordError(
                f"the service directory was set back: it lacks {counted(count - len(theirs), 'record')} that we "
                f"verified, up to {self.tip[:12]} of {self.records[-1].record.created_at}",
                hint="its administrators bring them back from a verified copy: eps directory export, sd store import "
                "(docs/howto-recover-directory.md)",
                reason=Reason.DIRECTORY_SET_BACK,
            )
        if theirs != [record.hash for record in self.records]:
            raise RecordError(
                f"the service directory now shows another history from the same root, without record {self.tip[:12]}",
                hint="it lost records or was tampered with; changing history takes a new root (--reset)",
            )
        return records[count:]


def pick_newest_root(records: Sequence[SignedRecord]) -> list[SignedRecord]:
    """Of several chains in one list, the one whose root has the latest ``created_at``.

    Each chain is a root and its descendants, in the list's order; of equally new roots the first counts. A record whose
    parent is not in the list stays with the one before it, where verification will refuse it: it is not passed over,
    unless it stands before all roots.
    """
    chains: list[list[SignedRecord]] = []
    chain_of: dict[RecordHash, list[SignedRecord]] = {}
    last: list[SignedRecord] | None = None
    for record in records:
        chain = None if record.is_root else chain_of.get(record.parent_hash, last)
        if chain is None:
            chain = []
            chains.append(chain)
        chain.append(record)
        chain_of[record.hash] = last = chain
    return max(chains, key=lambda chain: (chain[0].is_root, chain[0].record.instant.nanoseconds), default=[])


def dated_ahead(records: Sequence[SignedRecord], now: datetime) -> list[SignedRecord]:
    """Those that are dated later than ``now``: by somebody whose clock is wrong, or who wants to be the last."""
    latest = nanoseconds_of(now + CLOCK_TOLERANCE)
    return [signed for signed in records if signed.record.instant.nanoseconds > latest]


def in_order(records: Sequence[SignedRecord]) -> list[SignedRecord] | None:
    """The same records, each directly behind its parent; None where that can't be: a parent is missing, or has two.

    The links leave one order of each chain; the chains are in the order of their roots. For stores whose entries were
    written by several hands at once.
    """
    roots = [record for record in records if record.is_root]
    children = {record.parent_hash: record for record in records if not record.is_root}
    ordered: list[SignedRecord] = []
    for root in roots:
        record: SignedRecord | None = root
        while record is not None:
            ordered.append(record)
            record = children.pop(record.hash, None)
    return ordered if len(ordered) == len(records) else None


# The checks of one record


def _check_parent(signed: SignedRecord, tip: RecordHash, content: str) -> None:
    if signed.hash != content:
        raise RecordError("its hash is not that of its content", hint="the record was changed after it was signed")
    if signed.parent_hash == tip:
        return
    if not signed.parent_hash:
        raise RecordError(
            "it is a root, but not the first record", hint="only the first record of a batch can be a root"
        )
    if not tip:
        raise RecordError("the chain does not begin with a root", hint="start one with submit-records --reset")
    raise _stale(signed, tip, "it")


def _stale(signed: SignedRecord, tip: RecordHash, which: str) -> StaleRecord:
    return StaleRecord(
        f"{which} is stale: it follows record {signed.parent_hash[:12]}, "
        f"but the last one is {tip[:12] or 'none: the chain is empty'}",
        index=0,
        hint="if somebody else submitted in between, submit again; an empty chain is started with --reset",
    )


def _check_signature(
    signed: SignedRecord, now: datetime, trust: TrustStore, *, ahead: bool, is_sound: bool = False
) -> Subject:
    """The signer, an administrator; the certificate is judged at the record's own date, the date by ``now``.

    Args:
        ahead: whether it may be dated in the future; a root, whose date decides which chain counts, never may.
        is_sound: whether its signatures are known to be right.
    """
    instant = signed.record.instant
    if not (ahead and not signed.is_root) and instant.nanoseconds > nanoseconds_of(now + CLOCK_TOLERANCE):
        ahead_by = spoken((instant.nanoseconds - nanoseconds_of(now)) / 1e9)
        raise RecordError(
            f"it is dated {instant.text}, {ahead_by} ahead of the clock of whoever checks it here, which is more than "
            f"{CLOCK_TOLERANCE.seconds // 60} minutes in the future",
            hint="set the clock of the machine that signed, and sign anew, unless the checker's own clock is wrong",
            reason=Reason.RECORD_AHEAD,
        )
    signer = trust.leaf(signed.signature.c).subject if is_sound else None
    if signer is None:
        payload = signed_payload(signed.hash, signed.parent_hash, signed.record)
        signer = verify(payload, signed.signature, instant.time, trust)
    if not signer.name or ADMIN_GROUP not in signer.groups:
        raise RecordError(
            f"its signer {signer} may not change the directory: the certificate does not name "
            + (f"the group {ADMIN_GROUP}" if signer.name else "an operator"),
            hint=f"sign with a certificate that has the URIs iris-name://OPERATOR and iris-group://{ADMIN_GROUP}",
        )
    return signer


def _unpinned(signer: Subject) -> RecordError:
    return RecordError(
        f"its signer {signer.name} used certificate {signer.fingerprint[:12]}, which the directory does not pin, and "
        "require_pinned_signers is set",
        hint="first submit a certificates record that pins it, signed by somebody whose certificate is pinned",
    )


def _check_pin(signer: Subject, entry: Entry | None) -> bool:
    """Whether the directory so far pins the certificate that ``signer`` used; refuses if it pins another one."""
    pin = entry.signing_pin if entry else None
    if pin is not None and pin != signer.fingerprint:
        raise RecordError(
            f"its signer {signer.name} used certificate {signer.fingerprint[:12]}, "
            f"but the directory pins {pin[:12]} as the one that {signer.name} signs with",
            hint="sign with the pinned certificate, or first submit a certificates record that pins the new one",
        )
    return pin is not None


def _check_admission(why: str) -> None:
    if why:
        raise RecordError(why, hint="correct it and sign it again; see PROTOCOL.md sections 4 and 10")


def _with(entry: Entry, signed: SignedRecord, verdict: Verdict) -> Entry:
    if verdict.use is Use.REPLACED:
        return entry.with_record(signed.record, signed)
    return entry.with_mark(Mark(signed.record.section, signed.hash, verdict.use.value, verdict.why))


def _refusal(error: RecordError, index: int, signed: SignedRecord) -> RecordError:
    what = f"record {index} ({signed.record.name}, {signed.record.section}, {signed.hash[:12]})"
    return RecordError(f"{what} is refused: {error.message}", index=index, hint=error.hint, reason=error.reason)
