"""Values for hypothesis: JSON as strangers send it, and the contents of directory sections."""

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
"""JSON values, whatever a free ``settings`` object may hold."""

PERMISSIONS = st.lists(
    st.fixed_dictionaries({"group": TEXT}, optional={"rights": st.just(["call"]), "x": VALUES}), max_size=2
)
FREE = st.dictionaries(TEXT, VALUES, max_size=3)
METHODS = st.lists(
    st.fixed_dictionaries({"name": TEXT}, optional={"permissions": PERMISSIONS, "parameters": VALUES, "x": VALUES}),
    max_size=2,
)
WORDS = {key: st.none() | TEXT for key in ("operator", "service", "environment")}
SETTINGS = st.lists(st.fixed_dictionaries({"settings": FREE}, optional=WORDS), max_size=3)
DATA = {
    "channels": st.lists(st.fixed_dictionaries({"type": TEXT}, optional={"settings": st.none() | FREE, "x": VALUES})),
    "certificates": st.lists(st.fixed_dictionaries({"fingerprint": TEXT, "key_usage": TEXT})),
    "services": st.lists(
        st.fixed_dictionaries({"name": TEXT}, optional={"permissions": PERMISSIONS, "methods": st.none() | METHODS}),
        max_size=2,
    ),
    "settings": SETTINGS,
    "preferences": SETTINGS,
    "groups": st.lists(TEXT),
}
"""For each section what a change record's ``data`` may be."""
