"""What differs between two readings of settings, and what of it a running program takes over (``Model.alive``)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from eps.settings.fields import Model
from eps.settings.problems import Loc, render_path


@dataclass(frozen=True, slots=True)
class Changes:
    """Places in settings whose values differ; never the values, which may be secret.

    Attributes:
        now: those that a running program takes over.
        later: those that take effect at its next start.
    """

    now: tuple[str, ...]
    later: tuple[str, ...]


def changes(before: Model, after: Model) -> Changes:
    """Compare two readings of the same program's settings."""
    found = list(_differences(before, after, (), alive=False))
    places = {taken: tuple(render_path(loc) for loc, alive in found if alive is taken) for taken in (True, False)}
    return Changes(places[True], places[False])


def _differences(before: object, after: object, loc: Loc, *, alive: bool) -> Iterator[tuple[Loc, bool]]:
    """The places of values that differ, and whether a running program takes each over."""
    if before == after:
        return
    if isinstance(before, Model) and type(before) is type(after):
        for name, field in type(before).model_fields.items():
            place = (*loc, field.alias or name)
            mine = before.alive is not None and name in before.alive
            for there, taken in _differences(getattr(before, name), getattr(after, name), place, alive=mine):
                yield there, taken and before.alive is not None
    elif _same_models(before, after) and not alive:
        pairs = zip(cast("tuple[object, ...]", before), cast("tuple[object, ...]", after), strict=True)
        for index, pair in enumerate(pairs):
            yield from _differences(*pair, (*loc, index), alive=False)
    else:
        yield loc, alive


def _same_models(before: object, after: object) -> bool:
    """Whether both are lists of the same kinds of models, in the same order."""
    if not isinstance(before, tuple) or not isinstance(after, tuple):
        return False
    kinds = [type(item) for item in cast("tuple[object, ...]", before)]
    return kinds == [type(item) for item in cast("tuple[object, ...]", after)] and all(
        issubclass(kind, Model) for kind in kinds
    )
