"""From a tree of settings to a model, and everything there is to say about it, each with file, line and path."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from eps.core.endpoint import is_this_machine, normal_host
from eps.core.host_port import parse_host_port
from eps.settings import node as nodes
from eps.settings.fields import Model
from eps.settings.models import JsonRpcServerSettings, KeepaliveSettings, SdJsonRpcServerSettings, TlsSettings
from eps.settings.node import Node, locate, plain
from eps.settings.problems import Loc, Problem, Severity, kind, nearest, render_path

S = TypeVar("S", bound=Model)

_TYPE_NAMES = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "dict_type": "a map",
}
"""Pydantic's names of type errors, in an administrator's words."""


def validate(
    model: type[S], tree: Node, folder: Path, state_path: Path, defaults: Mapping[str, Any]
) -> tuple[S | None, list[Problem]]:
    """Make ``model`` of ``tree``.

    Args:
        folder: the working directory: relative paths of files start there.
        state_path: the folder that paths of stores are seen from.
        defaults: values of the model's own keys that depend on the environment.

    Returns:
        the settings, or None if there is an error among the problems.
    """
    problems = [_unknown(tree, loc, valid) for loc, valid in _unknown_keys(model, tree, ())]
    context = {"folder": folder, "state_path": state_path}
    try:
        settings = model.model_validate({**defaults, **plain(tree)}, context=context)
    except ValidationError as error:
        said: set[str] = set()
        for details in error.errors(include_url=False):
            problem = _problem(tree, details)
            if problem is not None and problem.text not in said:
                problems.append(problem)
                if details.get("ctx", {}).get("once"):
                    said.add(problem.text)
        return None, problems
    return settings, problems + [_at(tree, loc, text, hint, Severity.WARNING) for loc, text, hint in _advice(settings)]


def _at(tree: Node, loc: Loc, text: str, hint: str = "", severity: Severity = Severity.ERROR) -> Problem:
    way, node, _ = locate(tree, loc)
    return Problem(node.origin.file, node.origin.line, render_path(way), text, hint, severity)


def _unknown(tree: Node, loc: Loc, valid: list[str]) -> Problem:
    return _at(tree, loc, "unknown key, ignored", nearest(str(loc[-1]), valid), Severity.WARNING)


# --- what pydantic found ---


def _problem(tree: Node, details: ErrorDetails) -> Problem | None:
    """One of pydantic's errors as ours; None if it is about a value that was reported already."""
    context = details.get("ctx", {})
    loc = (*details["loc"], *context.get("at", ()))
    broken = locate(tree, loc)[2] or locate(tree, details["loc"])[2]
    if broken:
        return None
    type_ = nodes.child(locate(tree, loc)[1], "type")
    text, hint = _wording(details, context, type_.written if type_ is not None else None)
    written = locate(tree, loc)[1].written
    if written is not None:  # texts that name the value do so behind a colon
        text = f"{text.partition(': ')[0]}: {written}" if ": " in text else text
    if details["type"].startswith("union_tag"):
        loc = (*loc, "type")
    return _at(tree, loc, text, hint)


def _wording(details: ErrorDetails, context: dict[str, Any], written: str | None) -> tuple[str, str]:
    """Text and hint. The value itself is left out, since it may be a secret; where it helps, it is a word of ours.

    Args:
        written: the value of ``type`` as the file has it, if variables stand in it.
    """
    name, value = details["type"], details["input"]
    if name == "settings":
        return str(context["text"]), str(context["hint"])
    if name in ("missing", "union_tag_not_found"):
        return "is missing", ""
    if name in ("too_short", "string_too_short"):
        return "must not be empty", ""
    if name in _TYPE_NAMES:
        hint = "put it in quotes" if name == "string_type" and isinstance(value, bool | int | float) else ""
        return f"must be {_TYPE_NAMES[name]}, not {kind(value)}", hint
    if name == "union_tag_invalid":
        valid = [tag.strip("'") for tag in str(context["expected_tags"]).split(", ")]
        given = value.get("type")
        if not isinstance(given, str):
            return f"must be one of {', '.join(valid)}", ""
        if written is not None:
            return f"{written} is not one of {', '.join(valid)}", ""
        return f"{given} is not one of {', '.join(valid)}", nearest(given, valid)
    message = re.sub(r"^Input should be", "must be", details["msg"])
    return message[0].lower() + message[1:], ""


# --- unknown keys ---


def _unknown_keys(annotation: Any, node: Node, loc: Loc) -> Iterator[tuple[Loc, list[str]]]:
    """Where the tree has keys that its model hasn't, and the keys that it has."""
    if (elements := node.elements) is not None:
        item = next((arg for arg in _alternatives(annotation) if get_origin(arg) is tuple), None)
        for index, element in enumerate(elements if item is not None else ()):
            yield from _unknown_keys(get_args(item)[0], element, (*loc, index))
        return
    model = _model_for(annotation, node)
    if model is None:
        return
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, child in (node.children or {}).items():
        if child.value is None:
            continue
        if key not in fields:
            yield (*loc, key), list(fields)
        else:
            yield from _unknown_keys(fields[key].annotation, child, (*loc, key))


def _alternatives(annotation: Any) -> list[Any]:
    """The types that a value may be of, without wrappings."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [item for arg in get_args(annotation) for item in _alternatives(arg) if item is not NoneType]
    return [annotation]


def _model_for(annotation: Any, node: Node) -> type[BaseModel] | None:
    """The model that describes a map; of several, the one whose ``type`` the map names."""
    models = [item for item in _alternatives(annotation) if isinstance(item, type) and issubclass(item, BaseModel)]
    if node.children is None or not models:
        return None
    if len(models) == 1:
        return models[0]
    named = node.children.get("type")
    return next((model for model in models if named is not None and named.value in _type_words(model)), None)


def _type_words(model: type[BaseModel]) -> tuple[Any, ...]:
    annotation = model.model_fields["type"].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()


# --- advice ---


def walk(value: object, loc: Loc = ()) -> Iterator[tuple[Loc, Model]]:
    """Every model inside ``value``, with its place, as in the files."""
    if isinstance(value, Model):
        yield loc, value
        for name, field in type(value).model_fields.items():
            yield from walk(getattr(value, name), (*loc, field.alias or name))
    elif isinstance(value, tuple):
        for index, item in enumerate(cast("tuple[object, ...]", value)):
            yield from walk(item, (*loc, index))


def _advice(settings: Model) -> Iterator[tuple[Loc, str, str]]:
    """What works, but should not stay as it is: place, text, hint."""
    for loc, model in walk(settings):
        if isinstance(model, TlsSettings) and model.insecure_skip_verify:
            hint = "set it to false, and name the CA in ca_certificate_files"
            yield (*loc, "insecure_skip_verify"), "certificates are not checked against a CA", hint
        if isinstance(model, KeepaliveSettings) and model.unanswered is not None and model.unanswered < model.silence:
            text = (
                f"is {model.unanswered} s; used are {model.silence} s (idle + interval × count), since Linux would "
                "otherwise end a silent connection with the first lost packet"
            )
            yield (*loc, "unanswered"), text, "leave it out"
        # A service directory's answers are for every operator.
        if not isinstance(model, JsonRpcServerSettings) or isinstance(model, SdJsonRpcServerSettings):
            continue
        if model.tls is None:
            if not _is_loopback(model.bind_address):
                text = "anybody who can connect may call, in the name of this operator"
                yield (*loc, "bind_address"), text, "give it tls, or bind it to localhost"
        elif model.tls.allowed_names is None and model.tls.allowed_fingerprints is None:
            text = "allowed_names is missing: every certificate from ca_certificate_files may call"
            yield (*loc, "tls"), text, "list the names of the applications that may, or [] for this operator's alone"


def _is_loopback(address: str) -> bool:
    return is_this_machine(normal_host(parse_host_port(address)[0]))
