"""A line of the table of attacks, and one of the table of guards."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attack:
    """Something that was tried and doesn't work.

    Attributes:
        what: the attacker does.
        sees: what the attacker gets.
        logged: what our log says: a ``kind`` of the reference with its ``why``, or that it says nothing, and why not.
        tests: ``FILE::NAME``, seen from tests/; every one of them shows it.
    """

    what: str
    sees: str
    logged: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Guard:
    """Something that stands in an attack's way.

    Attributes:
        what: it does.
        file: where it is, seen from src/eps/.
        old: its text there, which occurs once.
        new: the text without it.
        test: ``FILE::NAME``, seen from tests/; it fails without the guard.
    """

    what: str
    file: str
    old: str
    new: str
    test: str

    def removed(self, source: str) -> str:
        """``source``, the file's text, without the guard.

        Raises:
            ValueError: the guard is not where it was.
        """
        if source.count(self.old) != 1:
            raise ValueError(f"{self.what}: its text occurs {source.count(self.old)} times in src/eps/{self.file}")
        return source.replace(self.old, self.new)
