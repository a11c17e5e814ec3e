"""Large values are forgotten piece by piece, but for what somebody else has of them."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from eps.core import taking_apart
from eps.core.jsonrpc_text import parse_request, parse_response, strict_loads
from eps.core.loose_answers import read_loosely
from eps.core.steps import exhaust
from eps.core.taking_apart import MAX_LEFT, STEP_VALUES, forget_rest, take_apart
from eps.errors import EpsError
from eps.grpc.struct_decoder import decode_struct
from eps.grpc.struct_encoder import encode_struct
from support.grpc_rig import nested

MANY = 100_000


def many(kind: str) -> Any:
    """A value of some MANY objects."""
    return {
        "lists": lambda: [[[]] for _ in range(MANY // 2)],
        "objects": lambda: {str(number): {"a": [number]} for number in range(MANY // 2)},
        "nested": lambda: [nested("ol" * 20) for _ in range(MANY // 40)],
        "texts": lambda: [str(number) for number in range(MANY)],
        "one in the other": lambda: nested("l" * MANY),
    }[kind]()


@pytest.mark.parametrize("kind", ["lists", "objects", "nested", "texts", "one in the other"])
def test_little_is_forgotten_at_a_time(kind: str) -> None:
    values = [many(kind)]
    steps = take_apart(values)
    before, most = sys.getallocatedblocks(), 0
    for _ in steps:
        now = sys.getallocatedblocks()
        most, before = max(most, before - now), now
    assert not values
    assert most < 6 * STEP_VALUES  # an object with its table, its key and its value, and what it was in


def test_what_somebody_else_has_stays_and_is_told() -> None:
    shared = {"a": [1, {"b": []}]}
    whole = [{"x": [shared, 1], "y": "text"}, [shared["a"]]]
    values = [whole]
    del whole
    left, containers = exhaust(take_apart(values))
    assert containers == 4
    assert shared == {"a": [1, {"b": []}]}
    assert [part is shared["a"] or part is shared for part in left] == [True, True]


def test_not_all_that_stays_is_told() -> None:
    shared = [[number] for number in range(2 * MAX_LEFT)]
    shared[3] *= 50
    left, containers = exhaust(take_apart([list(shared), []]))
    assert len(left) == MAX_LEFT and any(part is shared[3] for part in left), "the largest are"
    assert containers == 2
    assert [part[0] for part in shared] == list(range(2 * MAX_LEFT))


def test_where_nobody_tells_who_is_alone_nothing_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert taking_apart.tells_who_is_alone()
    monkeypatch.setattr(taking_apart.sys, "getrefcount", lambda _: 1)  # type: ignore[attr-defined]  # as a later one may
    assert not taking_apart.tells_who_is_alone()
    monkeypatch.undo()
    monkeypatch.setattr(taking_apart, "_alone", -1)
    value = [[1], {"a": [2]}]
    assert exhaust(take_apart([value])) == ([value], 0)
    assert value == [[1], {"a": [2]}]
    assert not taking_apart.is_alone([[1]], 0)


def test_what_is_taken_out_of_an_object_is_all_that_remains_of_it() -> None:
    container: dict[str, Any] = {"params": {"a": [1]}, "more": [{"x": 1}], "id": 7}
    params = container["params"]
    forget_rest(container)
    assert container == {}
    assert params == {"a": [1]}


LARGE = b"[" + b",".join([b"[[]]"] * 40_000)
"""Not closed."""
NOT_CLOSED = b'{"jsonrpc":"2.0","id":"1","method":"a.b","params":{},"result":{"a":' + LARGE
BEYOND = NOT_CLOSED + b",9007199254740993]}}"
INF = float("inf")


def params_of(text: bytes) -> bytes:
    return text.replace(b'"params":{},"result"', b'"params"')


REFUSED: dict[str, Callable[[], object]] = {
    "not closed": lambda: strict_loads(NOT_CLOSED),
    "beyond": lambda: strict_loads(BEYOND),
    "params that are not closed": lambda: parse_request(params_of(NOT_CLOSED), "application/json"),
    "params beyond": lambda: parse_request(params_of(BEYOND), "application/json"),
    "no list": lambda: parse_request(LARGE + b"]", "application/json"),
    "no request": lambda: parse_request(LARGE.replace(b"[", b'{"a":[', 1) + b"]}", "application/json"),
    "an answer beyond": lambda: parse_response(BEYOND, "1", source="x"),
    "no answer": lambda: parse_response(LARGE + b"]", "1", source="x"),
    "of another": lambda: parse_response(NOT_CLOSED + b"]}}", "2", source="x"),
    "a Struct": lambda: decode_struct(encoded_with_infinity()),
}


def encoded_with_infinity() -> bytes:
    encoded = encode_struct({"a": [*([[]] for _ in range(40_000)), 1.5]})
    return encoded.replace(b"\0\0\0\0\0\0\xf8\x3f", b"\0\0\0\0\0\0\xf0\x7f")


@pytest.mark.parametrize("kind", REFUSED)
def test_of_what_is_refused_nothing_is_left_for_whoever_forgets_the_error(kind: str) -> None:
    with pytest.raises(EpsError):
        REFUSED[kind]()  # what is kept once, such as compiled patterns
    before = sys.getallocatedblocks()
    with pytest.raises(EpsError) as told:
        REFUSED[kind]()
    assert sys.getallocatedblocks() - before < 20_000
    assert told.tb is not None, "whose frames have what was read"


@pytest.mark.parametrize("answered", ["1", "another"])
def test_of_a_loose_answer_only_the_result_is_left(answered: str) -> None:
    surplus = b'{"jsonrpc":"2.0","id":"1","more":' + LARGE + b'],"Result":{"a":[1]}}'
    status = 200 if answered == "1" else 404
    body = surplus if answered == "1" else surplus.replace(b'"jsonrpc":"2.0","id":"1",', b"")
    exhaust(read_loosely(body, "1", status=status, max_bytes=len(body)))
    before = sys.getallocatedblocks()
    found = exhaust(read_loosely(body, "1", status=status, max_bytes=len(body)))
    assert sys.getallocatedblocks() - before < 20_000
    assert (found[0].result if found else None) == ({"a": [1]} if answered == "1" else None)


@pytest.mark.parametrize("kind", ["request", "answer"])
def test_of_a_message_only_what_is_needed_is_left(kind: str) -> None:
    body = NOT_CLOSED.replace(b'"result":{"a"', b'"result":[1],"more":{"a"') + b"]}}"

    def read() -> Any:
        if kind == "request":
            return parse_request(body, "application/json").params
        return parse_response(body, "1", source="x").result

    read()
    before = sys.getallocatedblocks()
    assert read() == ({} if kind == "request" else [1])
    assert sys.getallocatedblocks() - before < 20_000
