"""Answers that follow JSON-RPC loosely: what is understood, and what stays no answer."""

import json
from typing import Any

import pytest

from eps.core.loose_answers import Flaw, read_loosely
from eps.core.message import Error, Response

MARK, SURPLUS, STATUS = Flaw.MARK, Flaw.SURPLUS, Flaw.STATUS
NO_ID, NULL_ID, OTHER_ID = Flaw.NO_ID, Flaw.NULL_ID, Flaw.OTHER_ID
CASE, BARE = Flaw.CASE, Flaw.BARE


def read(body: bytes, status: int = 200) -> tuple[Response, list[Flaw]] | None:
    steps = read_loosely(body, "1", status=status, max_bytes=1_000_000)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: tuple[Response, list[Flaw]] | None = end.value
            return found


def answer(**members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "1", "result": {"a": "}"}} | members).encode()


WHOLE = answer()
WITHOUT_ID = b'{"jsonrpc":"2.0","result":{"a":"}"}}'


@pytest.mark.parametrize(
    ("body", "status", "flaws"),
    [
        (WITHOUT_ID, 200, [NO_ID]),
        (b'{"result":{"a":"}"}}', 200, [NO_ID]),
        (answer(id=None), 200, [NULL_ID]),
        (answer(id=7), 201, [OTHER_ID]),
        (answer(id={"x": 1}), 200, [OTHER_ID]),
        (answer(id=10**20), 200, [OTHER_ID]),
        (answer(took_ns=10**18, trace={"id": 10**20}), 200, []),
        (b'{"Jsonrpc":"2.0","Id":"1","Result":{"a":"}"},"Error":null}', 200, [CASE]),
        (b'{"jsonrpc":"2.0","RESULT":{"a":"}"}}', 200, [CASE, NO_ID]),
        (WHOLE, 302, [STATUS]),
        (WHOLE, 404, [STATUS]),
        (WHOLE, 500, [STATUS]),
        (b'{"id":"1","result":{"a":"}"}}', 500, [STATUS]),
        (WITHOUT_ID, 500, [NO_ID, STATUS]),
        (b"\xef\xbb\xbf" + WHOLE, 200, [MARK]),
        (WHOLE + b"\n<!-- served in 3 ms -->", 200, [SURPLUS]),
        (WHOLE + b"}", 200, [SURPLUS]),
        (WHOLE + b"\0", 200, [SURPLUS]),
        (b"\xef\xbb\xbf\r\n" + WITHOUT_ID + b'{"debug": true}', 404, [MARK, SURPLUS, NO_ID, STATUS]),
    ],
)
def test_what_can_mean_one_thing_only_is_understood(body: bytes, status: int, flaws: list[Flaw]) -> None:
    assert read(body, status) == (Response("1", {"a": "}"}), flaws)


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(("given", "flaws"), [("2", [OTHER_ID]), (None, []), ("1", [])])
def test_an_error_too(given: object, flaws: list[Flaw], status: int) -> None:
    body = b"\xef\xbb\xbf" + answer(id=given, result=None, error={"code": 7, "message": "m"})
    assert read(body, status) == (Response("1", error=Error(7, "m", {})), [MARK, *flaws])


@pytest.mark.parametrize(
    ("body", "error", "flaws"),
    [
        (b'{"id":"1","error":{"message":"m"}}', Error(-32603, "m", {}), [BARE]),
        (b'{"id":"1","error":{"code":null,"message":null,"data":{"a":1}}}', Error(-32603, "", {"a": 1}), [BARE]),
        (b'{"jsonrpc":"2.0","error":{}}', Error(-32603, "", {}), [BARE]),
        (b'{"id":"1","error":{"code":7,"message":null}}', Error(7, "", {}), [BARE]),
        (b'{"Id":"1","Error":{"Code":7,"Message":"m","Data":null}}', Error(7, "m", {}), [CASE]),
        (b'{"id":"1","error":{"Code":7,"Message":"m"}}', Error(7, "m", {}), [CASE]),
        (b'{"id":"1","error":{"Code":null,"message":"m"}}', Error(-32603, "m", {}), [CASE, BARE]),
    ],
)
def test_errors_that_say_little(body: bytes, error: Error, flaws: list[Flaw]) -> None:
    assert read(body, 400) == (Response("1", error=error), flaws)


def test_a_result_that_was_left_out_is_an_empty_one() -> None:
    assert read(b'{"jsonrpc":"2.0"}') == (Response("1", {}), [NO_ID])
    assert read(b'{"jsonrpc":"2.0"}', 404) is None
    assert read(b"{}") == (Response("1", {}), [NO_ID])
    assert read(b"{}", 404) is None


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>{}</html>",
        b"[]",
        b"7",
        b'{"message":"not found"}',
        b'{"jsonrpc":"2.0","method":"f","params":{},"id":"1"}',  # our own request, sent back
        answer(error={"code": "1"}),
        answer(error="text"),
        WHOLE + WHOLE,
        WHOLE + b"\n" + WITHOUT_ID,
        WHOLE + b'garbage {"error" : {"code": 1}}',
        WHOLE[:-1],
        b'{"result":1,"result":2}x',
        b'{"Result":1,"result":2,"id":"1"}',
        b'{"error":{"message":"no such page"}}',  # of something that knows no JSON-RPC
        answer(error={"code": "1", "Code": 1}),
        answer(result=2**60) + b"x",
        b"x" + WHOLE,
        b"[" + WHOLE + b"]",
        b"}" + WHOLE,
        b"]",
        b'"' + WHOLE,
    ],
)
def test_everything_else_stays_no_answer(body: bytes, status: int) -> None:
    assert read(body, status) is None


def test_a_foreign_status_needs_an_answer_that_says_what_it_is() -> None:
    assert read(b'{"result":1}', 404) is None
    assert read(b'{"id":"2","result":1}', 500) is None


def test_a_long_body_is_looked_at_in_steps() -> None:
    body = answer(result=[[] for _ in range(20_000)]) + b"x"
    steps = read_loosely(body, "1", status=200, max_bytes=len(body))
    assert len(list(steps)) > 2


@pytest.mark.parametrize("flaw", Flaw)
def test_each_flaw_says_what_to_mend(flaw: Flaw) -> None:
    assert flaw.what and flaw.hint
