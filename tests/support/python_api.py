"""docs/reference-python.md from the docstrings of what applications import."""

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

PACKAGES = ("eps.client", "eps.service", "eps.testing")
"""What applications import; what their ``__all__`` lists is told."""

SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):$")
ITEM = re.compile(r"^([\w, *]+): (.*)$")


def render(package: str) -> str:
    """One package: each name, its signature, what its docstring says, and its methods."""
    module = importlib.import_module(package)
    parts = [_told(name, getattr(module, name)) for name in sorted(module.__all__)]
    return "\n\n".join(parts) + "\n"


def _told(name: str, value: Any) -> str:
    if isinstance(value, Enum) or not (inspect.isclass(value) or callable(value)):
        return f"### {name}"
    lines = [f"### {name}", "", f"`{name}{signature(value)}`", "", text_of(value)]
    if inspect.isclass(value) and not issubclass(value, BaseException):
        for method, function, kind in _methods(value):
            lines += ["", f"**`{kind}{method}{signature(function)}`**", "", text_of(function)]
    return "\n".join(lines).rstrip()


def _methods(owner: type[Any]) -> Iterator[tuple[str, Any, str]]:
    """Those that it, or a base of ours, defines for others, in the order of the source."""
    seen: set[str] = set()
    for base in owner.__mro__:
        if not base.__module__.startswith("eps."):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") or name in seen or inspect.isclass(member):
                continue
            seen.add(name)
            if isinstance(member, property):
                yield name, member, ""
            elif isinstance(member, classmethod | staticmethod):
                yield name, getattr(owner, name), f"{owner.__name__}."
            elif inspect.isfunction(member):
                yield name, member, "await " if inspect.iscoroutinefunction(member) else ""


def signature(value: Any) -> str:
    """As one would write it, without the places of types; nothing for properties and errors."""
    if isinstance(value, property) or (inspect.isclass(value) and issubclass(value, BaseException)):
        return ""
    found = inspect.signature(value)
    named = [_with_plain_default(one) for one in found.parameters.values() if one.name != "self"]
    text = str(found.replace(parameters=named))
    text = re.sub(r"(?:eps|typing|collections\.abc|types|os|asyncio|contextlib)(?:\.\w+)*\.(?=\w)", "", text)
    text = re.sub(r"(?<!= )'([^']+)'", r"\1", text)  # forward references, not defaults
    return text.removesuffix(" -> None").replace("~", "")


class _Something:
    """A default that is no plain value, which may be this machine's own."""

    def __repr__(self) -> str:
        return "…"


def _with_plain_default(parameter: inspect.Parameter) -> inspect.Parameter:
    default = parameter.default
    is_plain = default is parameter.empty or default is None or isinstance(default, bool | int | float | str)
    return parameter if is_plain or default == () else parameter.replace(default=_Something())


def text_of(value: Any) -> str:
    """A docstring as Markdown."""
    words = inspect.getdoc(value) or ""
    if is_dataclass(value) and words.startswith(f"{getattr(value, '__name__', '')}("):
        words = ""  # dataclasses' own
    lines: list[str] = []
    in_section = False
    for line in words.replace("``", "`").split("\n"):
        stripped = line.strip()
        if SECTION.match(stripped):
            in_section = True
            lines += [f"{stripped.removesuffix(':')}:", ""]
        elif in_section and (item := ITEM.match(stripped)) and line.startswith("    ") and not line.startswith("     "):
            lines.append(f"- `{item[1]}`: {item[2]}")
        elif in_section and stripped and lines[-1]:
            lines[-1] += f" {stripped}"
        elif in_section and stripped:
            lines.append(f"- {stripped}")
        else:
            lines.append(stripped if in_section else line)
            in_section = in_section and bool(stripped)
    return re.sub(r":\w+:`~?\.?([\w.]+)`", r"`\1`", "\n".join(lines)).strip()
