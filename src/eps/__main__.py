"""``python -m eps`` is the program ``eps``."""

from eps.programs.entry import eps

eps()
