"""JSON values that can travel, for tests of what carries them; some objects are constants."""

from hypothesis import strategies as st

from eps.core.message import Constant

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4).map(Constant)
    ),
    max_leaves=60,
)
objects = st.dictionaries(texts, values, max_size=4)

ENTRY = {"name": "hd-1", "groups": ["a"] * 300, "records": [{"hash": "0" * 64, "n": 1.5, "none": None}] * 20}
