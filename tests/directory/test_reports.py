"""What the log is told."""

from eps.core.chain import Chain
from eps.core.entries import Directory, Entry
from eps.core.event import DirectoryChanged, DirectoryFailed, DirectoryStillFailing, Level, Notice
from eps.core.names import Operator
from eps.directory.reports import MAX_OPERATORS, MAX_REASONS, Reports, changed_sections
from support.record_tools import ADMIN, NOW, chain_of, group_record, sign_chain, signing_pin_record, trust
from support.testing import Events

HD_1 = Operator("hd-1")
OTHERS = Directory.empty().replace([Entry(Operator("hd-2"))], "tip")
WHOLE = OTHERS.replace([Entry(HD_1)], "tip")


def test_a_failure_is_told_once_until_something_succeeds() -> None:
    events = Events()
    reports = Reports(events, None)
    for reason in ("down", "down", "lying", "down"):
        reports.failed(reason, "look")
    assert [event.detail for event in events.of(DirectoryFailed)] == ["down", "lying"]
    assert len(events.of(DirectoryStillFailing)) == 2
    assert reports.failing
    reports.succeeded("https://sd", OTHERS)
    assert not reports.failing
    (notice,) = events.of(Notice)
    assert notice.text == "the service directory at https://sd answers again"
    reports.succeeded("https://sd", OTHERS)
    assert len(events.of(Notice)) == 1
    reports.failed("down", "look")
    assert len(events.of(DirectoryFailed)) == 3


def test_reasons_that_strangers_invent_are_bounded() -> None:
    events = Events()
    reports = Reports(events, None)
    for number in range(MAX_REASONS + 5):
        reports.failed(f"reason {number}", "")
    assert len(events.of(DirectoryFailed)) == MAX_REASONS


def test_what_is_missing_is_told_when_it_begins_to_be() -> None:
    events = Events()
    reports = Reports(events, HD_1)
    assert reports.lacks_something(OTHERS)
    assert not reports.lacks_something(WHOLE)
    for directory in (OTHERS, OTHERS, WHOLE, OTHERS):
        reports.succeeded("https://sd", directory)
    assert [(event.text, event.level) for event in events.of(Notice)] == [
        ("the directory has no entry for hd-1, this server's operator yet", Level.WARN)
    ] * 2


def test_without_a_name_any_entry_will_do() -> None:
    events = Events()
    reports = Reports(events, None)
    assert not reports.lacks_something(OTHERS)
    reports.succeeded("https://sd", Directory.empty())
    assert [event.text for event in events.of(Notice)] == ["the directory has no entries yet"]


def test_a_change_and_an_endpoint_that_is_passed_over() -> None:
    events = Events()
    reports = Reports(events, None)
    chain = Chain.empty(trust()).extend(chain_of(2), NOW)
    reports.changed(chain, "the cache")
    assert events.of(DirectoryChanged) == [DirectoryChanged(records=2, operators=2, tip=chain.tip, source="the cache")]
    reports.passed_over("https://sd-0 is not believed", "look")
    (notice,) = events.of(Notice)
    assert (notice.text, notice.hint, notice.level) == ("https://sd-0 is not believed", "look", Level.WARN)


def test_whose_sections_were_changed_fits_a_line() -> None:
    records = [group_record("hd-2", "a"), group_record("hd-1", "a"), signing_pin_record(ADMIN), group_record("hd-2")]
    assert changed_sections(sign_chain(records)) == ("hd-2: groups", "hd-1: groups", "admin: certificates")
    many = changed_sections(chain_of(MAX_OPERATORS + 1))
    assert many[0] == "op-0: groups"
    assert many[MAX_OPERATORS:] == ("and 1 more operator",)
    assert changed_sections(chain_of(MAX_OPERATORS + 5))[-1] == "and 5 more operators"
    assert changed_sections([]) == ()
