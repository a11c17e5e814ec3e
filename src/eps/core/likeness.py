"""Which words and names are so alike that one was most likely meant for the other. Pure."""

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterator

CLOSE = 0.7
"""How much of two words must be the same (``difflib``): adress is address, weight is nothing that we know."""

MAX_COMPARED = 2_000
"""Words that one is compared with: some 20 ms. A caller who errs must not hold up the others."""


def meant(word: str, known: Collection[str]) -> str:
    """The one of ``known`` that ``word`` most likely is a misspelling of; "" if none, or too many are known."""
    if len(known) > MAX_COMPARED:
        return ""
    lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=CLOSE)
    return lower[found[0]] if found else ""


MIN_LETTERS = 4
"""Of names in which one letter that is another says something: ``hd-1`` and ``sd-1`` are both meant."""


MIN_COMMON = 2
"""Letters, digits and signs that names of which one is a typing error have in common, at least."""


class Neighbours:
    """Names, to be asked for those that are one letter from another: one more, one less, another, or two in turn.

    Names that differ in digits only, ``hd-1`` and ``hd-2``, are meant to, and short ones may differ in a letter; but
    ``hd1`` and ``hd-l`` are as odd as ``acne`` beside ``acme``. Each name is found by what is left of it without one
    letter, so that asking costs the same however many names there are.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._without: dict[tuple[int, str], list[str]] = defaultdict(list)
        for name in sorted(self._names):
            for place, shorter in _shortened(name):
                self._without[place, shorter].append(name)

    def of(self, name: str) -> str:
        """The first name that is one letter from ``name``, which may be among them itself; "" if there is none."""
        return min(self._of(name), default="")

    def _of(self, name: str) -> Iterator[str]:
        for place, shorter in _shortened(name):
            letter = name[place]
            if shorter in self._names and _is_odd(letter, "", shorter):
                yield shorter
            for other in self._without.get((place, shorter), ()):
                if other != name and _is_odd(letter, other[place], shorter):
                    yield other
            swapped = name[:place] + name[place : place + 2][::-1] + name[place + 2 :]
            if swapped != name and swapped in self._names and _is_odd(letter, name[place + 1], name):
                yield swapped
        for place in range(len(name) + 1):
            yield from (longer for longer in self._without.get((place, name), ()) if _is_odd(longer[place], "", name))


def _is_odd(one: str, other: str, common: str) -> bool:
    """Whether names are hardly meant to differ in this, and to have ``common`` in common."""
    if (one + other).isdigit() or len(common) < MIN_COMMON:
        return False
    return not (one + other).isalpha() or sum(map(str.isalpha, common)) + 1 >= MIN_LETTERS


def _shortened(name: str) -> Iterator[tuple[int, str]]:
    """``name`` without each of its letters in turn, and where that stood."""
    for place in range(len(name)):
        yield place, name[:place] + name[place + 1 :]
