"""What the administrator was asked for at the start, for when settings are read again and nobody is there to ask."""

from eps.settings.variables import Prompt, terminal_prompt


class Answers:
    """A :data:`~eps.settings.variables.Prompt` that asks each question once.

    Args:
        ask: who is asked; None where nobody can be.
    """

    def __init__(self, ask: Prompt | None) -> None:
        self._ask = ask
        self._given: dict[str, str] = {}

    def __call__(self, name: str, sensitive: bool) -> str:
        """The answer, as it was given first. Raises EOFError if nobody can be asked any more."""
        if name not in self._given:
            if self._ask is None:
                raise EOFError
            self._given[name] = self._ask(name, sensitive)
        return self._given[name]

    def close(self) -> None:
        """Ask nothing more: the program runs, its terminal may be somebody else's."""
        self._ask = None


def answers_of_terminal() -> Answers | None:
    """What asks at the terminal; None where there is none."""
    ask = terminal_prompt()
    return Answers(ask) if ask is not None else None
