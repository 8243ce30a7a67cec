"""A strategy for JSON values."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

#: All values that JSON has, with characters of every kind.
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
