"""Requests, responses and the ``_`` in which results travel."""

from typing import Any

import pytest
from hypothesis import given

from eps.core.address import Address
from eps.core.message import Error, Request, Response, unwrap, wrap
from eps.core.names import Operator
from eps.core.told import error_response
from eps.errors import NotPermitted
from support.strategies import VALUES


@pytest.mark.parametrize(
    ("value", "travels"),
    [
        (None, {}),
        ({}, {}),
        ({"a": None}, {"a": None}),
        (0, {"_": 0}),
        ("", {"_": ""}),
        ([], {"_": []}),
        (False, {"_": False}),
    ],
)
def test_wrap(value: Any, travels: Any) -> None:
    assert wrap(value) == travels


def test_unwrap() -> None:
    assert unwrap(None) == {}
    assert unwrap({}) == {}
    assert unwrap({"_": None}) is None
    assert unwrap({"_": {"_": 1}}) == {"_": 1}
    assert unwrap({"_": 1, "a": 2}) == {"_": 1, "a": 2}
    assert unwrap({"a": 1}) == {"a": 1}


@given(VALUES)
def test_what_is_wrapped_comes_out_again(value: Any) -> None:
    lone = isinstance(value, dict) and list(value) == ["_"]  # the one object that can't be told from a wrapped value
    expected = value["_"] if lone else {} if value is None else value
    assert unwrap(wrap(value)) == expected


def test_values() -> None:
    request = Request(Address(Operator("a"), "f", "1"), {"x": 1})
    assert (str(request.address), request.params) == ("a.f(1)", {"x": 1})
    assert Response("1") == Response("1", None, None)
    assert Error(1, "x").data == {}
    assert Error(1, "x").data is not Error(1, "x").data


def test_an_error_tells_the_caller_what_to_do() -> None:
    response = error_response("1", NotPermitted("no", hint="ask"))
    assert response.id == "1"
    assert response.result is None
    data = {"stage": "permission", "side": "ours", "outcome": "not_sent", "reason": "no-permission", "hint": "ask"}
    assert response.error == Error(403, "no", data)
