"""How old what we know of the directory is: the time since a service directory last confirmed it.

That notices a service directory that can't be reached. One that answers, but withholds what is new, confirms with every
answer, and is not noticed.
"""

DAY = 86_400.0

_UNITS = ((DAY, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def worth_saying(before: float, age: float, maximum: float) -> bool:
    """Whether a line is due, now that the age was ``before`` at the last look: beyond ``maximum``, and daily.

    All in seconds.
    """
    return before < maximum <= age or int(before // DAY) < int(age // DAY)


def spoken(seconds: float) -> str:
    """``26 hours``: whole units, of which there are at least two, down to seconds."""
    for unit, name in _UNITS:
        if seconds >= 2 * unit:
            return f"{int(seconds // unit)} {name}s"
    return "1 second" if seconds >= 1 else "less than a second"


def spoken_roughly(seconds: float) -> str:
    """The same for texts that are told again when they change: in steps of an hour, behind the first minute."""
    if seconds < 60.0:
        return "less than a minute"
    if seconds < 3600.0:
        return "less than an hour"
    return spoken(seconds) if seconds >= 7200.0 else "more than an hour"


TOO_OLD_HINT = (
    "see why no service directory of directory.settings.endpoints answers; until one does, a longer maximum_age, or "
    "when_too_old: warn, lets the old directory count"
)
"""What to do where a directory is refused for its age."""
