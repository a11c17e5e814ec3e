"""One method: a function, and what its type hints say of params and result."""

import inspect
import json
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, NotRequired, Union, cast, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from eps.core.message import CLIENT_KEY
from eps.service.caller import Caller, caller_of
from eps.service.refusals import BadParams

MAX_FLAWS = 20
"""Of one call's params that are told: whoever has more sees the rest when these are mended."""

Function = Callable[..., Any]


class Method:
    """A function that others call.

    Args:
        name: as callers know it.
        function: its parameters are the keys of ``params``; one with the hint ``Caller`` is given who calls. May be
            ``async``.

    Attributes:
        description: the function's docstring.
        is_async: it is awaited; others run in a thread.

    Raises:
        TypeError: a parameter has no hint, or can't be a key of ``params``.
    """

    def __init__(self, name: str, function: Function) -> None:
        self.name = name
        self.description = inspect.cleandoc(function.__doc__) if function.__doc__ else ""
        self.is_async = inspect.iscoroutinefunction(function)
        self._function = function
        hints = get_type_hints(function, include_extras=True)
        fields, self._callers = _fields(name, function, hints)
        self._params: TypeAdapter[dict[str, Any]] = TypeAdapter(_params_type(name, fields))
        self._result: TypeAdapter[Any] = TypeAdapter(hints.get("return", Any))

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What the function is called with.

        Raises:
            BadParams: ``params`` don't fit the hints.
        """
        given = {key: value for key, value in params.items() if key != CLIENT_KEY}
        try:
            found = self._params.validate_json(json.dumps(given))
        except ValidationError as error:
            raise BadParams(self.name, _flaws(error)) from None
        if self._callers:
            caller = caller_of(params, self.name)
            found |= dict.fromkeys(self._callers, caller)
        return found

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """What the function returns, or an awaitable of it."""
        return self._function(**arguments)

    def written(self, value: Any) -> Any:
        """A returned value as JSON's. Raises pydantic's errors where it is none."""
        return self._result.dump_python(value, mode="json", by_alias=True)

    def params_schema(self) -> dict[str, Any]:
        """JSON Schema of an object."""
        return self._params.json_schema()

    def result_schema(self) -> dict[str, Any]:
        """JSON Schema of what it returns."""
        return self._result.json_schema(mode="serialization")


def _fields(name: str, function: Function, hints: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The hints of ``params``' keys, and the parameters that are given the caller."""
    fields: dict[str, Any] = {}
    callers: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{name}: {parameter} can't be a key of params: name each parameter")
        if parameter.name not in hints:
            raise TypeError(f"{name}: the parameter {parameter.name} has no type hint")
        hint = hints[parameter.name]
        if _is_caller(hint):
            callers.append(parameter.name)
        else:
            fields[parameter.name] = hint if parameter.default is parameter.empty else NotRequired[hint]
    return fields, tuple(callers)


def _is_caller(hint: Any) -> bool:
    """Whether that says Caller, and nothing else but None."""
    if get_origin(hint) is Annotated:
        return _is_caller(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return all(one is NoneType or _is_caller(one) for one in get_args(hint)) and hint is not NoneType
    return hint is Caller


def _params_type(name: str, fields: dict[str, Any]) -> Any:
    """A TypedDict: its keys may be any words, also those that models have for themselves."""
    made = cast(Any, TypedDict)(f"{name} params", fields)
    made.__pydantic_config__ = ConfigDict(extra="forbid")
    return made


def _flaws(error: ValidationError) -> dict[str, str]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return {".".join(map(str, one["loc"])) or "params": one["msg"] for one in found[:MAX_FLAWS]}
