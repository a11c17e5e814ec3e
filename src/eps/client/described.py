"""What may be called, as ``methods()`` of both clients tells it (PROTOCOL.md section 10)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eps.client.errors import OutcomeUnknown

METHODS = "_methods"
"""The method by which our own EPS server is asked."""


@dataclass(frozen=True, slots=True)
class MethodDescription:
    """A method that our operator may call.

    Attributes:
        operator, name: whose it is; called as ``OPERATOR.NAME``.
        service: the one that it belongs to in the directory.
        description: in the words of who offers it; may be empty.
        params, result: JSON Schemas; None where nothing is known.
        described_by: ``application``, ``directory`` or ``server``.
    """

    operator: str
    name: str
    service: str = ""
    description: str = ""
    params: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    described_by: str = ""


def asked(operator: str) -> dict[str, str]:
    """The params of the question."""
    return {"operator": operator} if operator else {}


def methods_in(answer: Any) -> list[MethodDescription]:
    """What an answer lists. Raises OutcomeUnknown: it is none."""
    listed = answer.get("methods") if isinstance(answer, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise OutcomeUnknown("our EPS server's answer lists no methods")
    return [
        MethodDescription(
            operator=_text(one.get("operator")),
            name=_text(one.get("name")),
            service=_text(one.get("service")),
            description=_text(one.get("description")),
            params=_schema(one.get("params")),
            result=_schema(one.get("result")),
            described_by=_text(one.get("described_by")),
        )
        for one in listed
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _schema(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) else None
