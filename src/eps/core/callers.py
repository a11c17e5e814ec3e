"""Who may call a JSON-RPC port: a certificate, judged by the settings and by what the directory says of its names.

    ours?                            ─▶ it may
    none of allowed_names?           ─▶ refused, without a look at the directory
    a name that the directory knows? ─▶ the directory must pin it, for connections, for one of these names
    then                             ─▶ allowed_names and allowed_fingerprints decide

A name that the directory knows, and doesn't pin this certificate for, counts for nothing: the authority that signed
the certificate says who somebody was, the directory who it is (PROTOCOL.md section 4).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eps.core.names import Fingerprint, Operator
from eps.core.names import shown as shown_names
from eps.core.sections import PinnedCertificate

MAX_SHOWN_CERTIFICATES = 20
"""Of an operator, in the record that a refusal shows: twice what anybody pins; the line stays below 4 KB."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What the directory says of an operator.

    Attributes:
        certificates: all that it pins for it.
        pins: those that count for connections now.
    """

    certificates: tuple[PinnedCertificate, ...]
    pins: frozenset[Fingerprint]


Known = Mapping[str, Listed]
"""The operators among a certificate's names."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a port's settings say.

    Attributes:
        names: certificates that carry one of them may call; None: nothing is said of names.
        fingerprints: of certificates that no name of the directory speaks for, these may call; with no names given
            besides ``operator``'s, they alone decide. None: nothing is said of fingerprints.
        operator: ours, whose pinned certificates may always call; None: there is none.
        ours: the certificates that our own settings name; they may always call.
    """

    names: tuple[str, ...] | None = None
    fingerprints: frozenset[Fingerprint] | None = None
    operator: Operator | None = None
    ours: frozenset[Fingerprint] = frozenset()

    @property
    def open_to_all(self) -> bool:
        """Whether nothing is said of anybody."""
        return self.names is None and self.fingerprints is None


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate that a caller shows."""

    names: tuple[str, ...]
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody may not call.

    Attributes:
        why: a word for the metric: ``name``, ``pin``, ``fingerprint``.
        text, hint: for the caller.
        detail: for our own log: the fingerprint, and what would let it in.
    """

    why: str
    text: str
    hint: str
    detail: str = field(repr=False)


def refused_by_settings(rules: Rules, shown: Shown | None) -> Refusal | None:
    """The refusal that needs no look at the directory; None: so far it may."""
    if rules.open_to_all or (shown is not None and shown.fingerprint in rules.ours):
        return None
    names = shown.names if shown is not None else ()
    if shown is not None and _may_be_named(rules, names, shown.fingerprint):
        return None
    return _unnamed(rules, shown)


def needs_directory(rules: Rules, shown: Shown | None) -> bool:
    """Whether the directory has a say in this."""
    return shown is not None and shown.fingerprint not in rules.ours


def refused(rules: Rules, shown: Shown, known: Known | None, as_of: str = "") -> Refusal | None:
    """The refusal of a certificate that is not ours; None: it may call.

    Args:
        known: the operators among its names; None: no directory was ever verified, the settings alone decide.
        as_of: how old the directory is, for the log; "" if that isn't known.
    """
    listed = {name: known[name] for name in shown.names if name in known} if known is not None else {}
    pinned = [name for name in listed if shown.fingerprint in listed[name].pins]
    if listed and not pinned:
        return _unpinned(shown, listed, as_of)
    if rules.open_to_all or rules.operator in pinned:
        return None
    counting = [name for name in shown.names if name in pinned or name not in listed]
    if not _may_be_named(rules, counting, shown.fingerprint):
        return _unnamed(rules, shown)
    if rules.fingerprints is None or shown.fingerprint in rules.fingerprints:
        return None
    vouched_for = pinned if known is not None else [name for name in shown.names if name == rules.operator]
    if not set(rules.names or ()).isdisjoint(vouched_for):
        return None
    return _not_listed(shown)


def _may_be_named(rules: Rules, names: Sequence[str], fingerprint: Fingerprint) -> bool:
    """Whether ``allowed_names`` let it in, or say nothing that matters."""
    if rules.names is None or not set(rules.names).isdisjoint(names) or rules.operator in names:
        return True
    by_fingerprint_alone = rules.fingerprints is not None and not set(rules.names) - {rules.operator}
    return by_fingerprint_alone and fingerprint in (rules.fingerprints or ())


def _unnamed(rules: Rules, shown: Shown | None) -> Refusal:
    allowed = rules.names or ()
    which = f"only certificates of {shown_names(allowed)} may call here" if allowed else "only certain certificates may"
    hint = "call with such a certificate, or add the name to tls.allowed_names of this server's settings"
    if shown is None:
        return Refusal("name", f"{which}; you show no certificate", hint, which)
    carries = f"your certificate carries {shown_names(shown.names)}"
    return Refusal("name", f"{which}; {carries}", hint, f"{which}; its fingerprint is {shown.fingerprint}")


def _not_listed(shown: Shown) -> Refusal:
    text = "your certificate is none of those that may call here"
    hint = "call with one that tls.allowed_fingerprints of this server's settings lists"
    detail = f"tls.allowed_fingerprints does not list {shown.fingerprint}: add it, if it may call"
    return Refusal("fingerprint", text, hint, detail)


def _unpinned(shown: Shown, listed: Known, as_of: str) -> Refusal:
    name = next(iter(listed))
    text = f"your certificate carries {name}, and the directory pins others for {name}'s connections"
    hint = "call with a certificate that the directory pins; the log of this server says what to do with a new one"
    if as_of:
        as_of = f"; {as_of}"
    detail = (
        f"the directory does not pin {shown.fingerprint} for connections of {name}{as_of}; "
        f"if it is a certificate that {name} uses, this record pins it: {pinning_record(name, listed[name], shown)}"
    )
    return Refusal("pin", text, hint, detail)


def pinning_record(name: str, listed: Listed, shown: Shown) -> str:
    """The record, as ``eps sd submit-records`` takes it, that pins a certificate besides those of ``name`` so far."""
    if len(listed.certificates) >= MAX_SHOWN_CERTIFICATES:
        return f"section certificates of {name}: its {len(listed.certificates)} so far, and this one"
    data = [certificate.to_json() for certificate in listed.certificates]
    data.append(PinnedCertificate(shown.fingerprint, "encryption").to_json())
    return json.dumps({"records": [{"name": name, "section": "certificates", "data": data}]}, ensure_ascii=False)
