"""Params from dataclasses and pydantic models, and results into them. pydantic is loaded when a result is converted."""

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from eps.client.errors import BadCall, UnexpectedResult
from eps.client.requests import Call, plain

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MAX_FLAWS = 5
"""Of a result that does not fit, in the message."""


def params_of(value: object, method: str) -> dict[str, Any]:
    """The params that ``value`` stands for.

    Args:
        value: a mapping, a dataclass, a pydantic model, or None for no params.

    Raises:
        BadCall: it is none of these.
    """
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    with suppress(TypeError):
        found = plain(value)
        if isinstance(found, dict):
            return found
    text = f"the params of {method} must be a mapping, a dataclass or a pydantic model, not {type(value).__name__}"
    raise BadCall(
        text, Call(method, {}, "", "", "").details(executed="no", code=-32602, reason="bad-params", side="ours")
    )


def adapter_of(into: Any, call: Call) -> "TypeAdapter[Any]":
    """What makes values of the type ``into``: a pydantic model, a dataclass, ``list[…]`` of them, what pydantic knows.

    Raises:
        BadCall: pydantic can make none.
    """
    try:
        return _adapter(into)
    except Exception as error:
        text = f"into={_named(into)}: no type that a result can be made of: {error}"
        details = call.details(executed="no", code=-32602, reason="bad-params", stage="call", side="ours")
        raise BadCall(text, details) from error


def converted(value: Any, adapter: "TypeAdapter[Any]", call: Call) -> Any:
    """``value`` by ``adapter``, read as the JSON that it is.

    Raises:
        UnexpectedResult: it is no such value. The message says where, and shows nothing of it.
    """
    from pydantic import ValidationError

    try:
        return adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        flaws = "; ".join(f"{_place(one['loc'])}: {one['msg']}" for one in found[:MAX_FLAWS])
    except Exception as error:  # noqa: BLE001 - of a validator that somebody wrote: the call was executed all the same
        flaws = type(error).__name__
    text = f"the result of {call.method} is not what into asks for: {flaws}"
    hint = "the call was executed; compare the type with what the service promises"
    details = call.details(executed="yes", reason="bad-answer", stage="call", side="peer", hint=hint)
    raise UnexpectedResult(text, details)  # outside: its cause would quote the result


def _named(into: Any) -> str:
    return str(getattr(into, "__name__", into))


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(map(str, loc)) or "the whole"


@lru_cache(256)
def _adapter(into: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(into)
