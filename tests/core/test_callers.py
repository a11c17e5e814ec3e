"""Who may call a JSON-RPC port, decided from names, fingerprints and pins."""

import json

import pytest

from eps.core.callers import (
    MAX_SHOWN_CERTIFICATES,
    Known,
    Listed,
    Rules,
    Shown,
    needs_directory,
    pinning_record,
    refused,
    refused_by_settings,
)
from eps.core.names import Fingerprint, Operator
from eps.core.sections import PinnedCertificate

OURS, PINNED, SIGNING, OTHER, APP = (Fingerprint(letter * 64) for letter in "abcde")
HD_1 = Operator("hd-1")


def listed(*pins: Fingerprint, signing: Fingerprint | None = None) -> Listed:
    certificates = [PinnedCertificate(pin, "encryption") for pin in pins]
    if signing is not None:
        certificates.append(PinnedCertificate(signing, "signing"))
    return Listed(tuple(certificates), frozenset(pins))


KNOWN: Known = {"hd-1": listed(PINNED, signing=SIGNING), "hd-2": listed(OTHER)}


def rules(names: tuple[str, ...] | None = None, fingerprints: tuple[Fingerprint, ...] | None = None) -> Rules:
    """As settings of hd-1 give them: the operator's own name is always among the allowed ones."""
    return Rules(
        names=("hd-1", *names) if names is not None else None,
        fingerprints=frozenset(fingerprints) if fingerprints is not None else None,
        operator=HD_1,
        ours=frozenset({OURS}),
    )


def why(given: Rules, fingerprint: Fingerprint, *names: str, known: Known | None = KNOWN) -> str:
    """The whole way, as the gate goes it; "" for somebody who may."""
    shown = Shown(names, fingerprint)
    refusal = refused_by_settings(given, shown)
    if refusal is None and needs_directory(given, shown):
        refusal = refused(given, shown, known)
    return refusal.why if refusal is not None else ""


@pytest.mark.parametrize("names", [None, (), ("app",)], ids=["any name", "none", "app"])
def test_our_own_certificates_always_may(names: tuple[str, ...] | None) -> None:
    for carried in (("hd-1",), ("nobody",), ()):
        assert why(rules(names), OURS, *carried) == ""
        assert why(rules(names, ()), OURS, *carried) == ""
        assert why(rules(names), OURS, *carried, known=None) == ""


@pytest.mark.parametrize("names", [None, (), ("hd-2",)], ids=["any name", "none", "hd-2"])
def test_a_name_of_the_directory_counts_with_its_pin(names: tuple[str, ...] | None) -> None:
    assert why(rules(names), PINNED, "hd-1") == ""
    assert why(rules(names), SIGNING, "hd-1") == "pin"
    assert why(rules(names), OTHER, "hd-1") == "pin"
    assert why(rules(names), OTHER, "hd-1", "app") == "pin", "another name does not make up for it"
    assert why(rules(names), OTHER, "hd-2") == ("name" if names == () else "")


def test_a_name_that_is_not_pinned_counts_for_nothing_beside_one_that_is() -> None:
    assert why(rules(()), OTHER, "hd-2", "hd-1") == "name"
    assert why(rules(("app",)), OTHER, "hd-2", "app") == "", "the authority vouches for what the directory doesn't know"


def test_others_come_in_by_name() -> None:
    assert why(rules(), APP, "app") == ""
    assert why(rules(("app",)), APP, "app") == ""
    assert why(rules(("app",)), APP, "*.x", "app") == ""
    assert why(rules(("app",)), APP, "other") == "name"
    assert why(rules(("app",)), APP) == "name"
    assert why(rules(()), APP, "app") == "name"


def test_fingerprints_narrow_the_names_or_stand_alone() -> None:
    for alone in (None, ()):
        assert why(rules(alone, (APP,)), APP, "app") == ""
        assert why(rules(alone, (APP,)), APP, "anything") == ""
        assert why(rules(alone, (APP,)), OTHER, "app") != ""
    assert why(rules(("app",), (APP,)), APP, "app") == ""
    assert why(rules(("app",), (APP,)), APP, "other") == "name"
    assert why(rules(("app",), (APP,)), OTHER, "app") == "fingerprint"
    assert why(rules(("app",), ()), APP, "app") == "fingerprint"


def test_fingerprints_need_not_repeat_what_the_directory_pins() -> None:
    given = rules(("hd-2", "app"), (APP,))
    assert why(given, PINNED, "hd-1") == "", "our operator's"
    assert why(given, OTHER, "hd-2") == "", "another operator's, by name and pin"
    assert why(rules(None, (APP,)), OTHER, "hd-2") == "fingerprint", "nobody named it"
    assert why(rules(None, (PINNED, SIGNING)), SIGNING, "hd-1") == "pin", "the directory has the last word"


def test_without_a_directory_the_settings_alone_decide() -> None:
    assert why(rules(("app",)), SIGNING, "hd-1", known=None) == ""
    assert why(rules(("app",)), APP, "app", known=None) == ""
    assert why(rules(("app",)), APP, "other", known=None) == "name"
    assert why(rules(("app",), (APP,)), OTHER, "app", known=None) == "fingerprint"
    assert why(rules(("app",), (APP,)), OTHER, "hd-1", known=None) == "", "our operator's name"


def test_without_a_certificate() -> None:
    assert refused_by_settings(rules(), None) is None
    assert not needs_directory(rules(), None)
    for given in (rules(("app",)), rules(None, (APP,))):
        refusal = refused_by_settings(given, None)
        assert refusal is not None and refusal.why == "name"
        assert "you show no certificate" in refusal.text


def test_a_directory_that_must_not_be_used_lets_no_operator_in() -> None:
    withheld: Known = {"hd-1": Listed(KNOWN["hd-1"].certificates, frozenset())}
    assert why(rules(), PINNED, "hd-1", known=withheld) == "pin"


def test_what_a_refusal_says_to_whom() -> None:
    refusal = refused(rules(), Shown(("hd-1",), SIGNING), KNOWN, "confirmed 3 s ago")
    assert refusal is not None
    assert SIGNING not in refusal.text + refusal.hint
    assert SIGNING in refusal.detail and "confirmed 3 s ago" in refusal.detail
    (record,) = json.loads(refusal.detail[refusal.detail.index("{") :])["records"]
    assert record == {
        "name": "hd-1",
        "section": "certificates",
        "data": [
            {"fingerprint": PINNED, "key_usage": "encryption"},
            {"fingerprint": SIGNING, "key_usage": "signing"},
            {"fingerprint": SIGNING, "key_usage": "encryption"},
        ],
    }
    unnamed = refused_by_settings(rules(("app",)), Shown(("x",), APP))
    assert unnamed is not None and APP in unnamed.detail and APP not in unnamed.text + unnamed.hint
    unlisted = refused(rules(("app",), ()), Shown(("app",), APP), {})
    assert unlisted is not None and APP in unlisted.detail and APP not in unlisted.text + unlisted.hint


def test_the_record_is_not_longer_than_a_log_line() -> None:
    many = listed(*(Fingerprint(f"{number:064x}") for number in range(MAX_SHOWN_CERTIFICATES)))
    text = pinning_record("hd-1", many, Shown(("hd-1",), APP))
    assert f"{MAX_SHOWN_CERTIFICATES} so far" in text and len(text) < 200
    few = Listed(many.certificates[1:], many.pins)
    assert len(pinning_record("hd-1", few, Shown(("hd-1",), APP))) < 4000
