"""Properties are tried with the same examples in every run, and without a deadline: machines differ."""

from hypothesis import settings

settings.register_profile("eps", derandomize=True, deadline=None)
settings.load_profile("eps")
