"""Which names channels and users can have."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djhookbox.wire.names import (
    Fault,
    NameProblem,
    check_name,
    find_fault,
    has_forbidden_characters,
    without_forbidden_characters,
)


@pytest.mark.parametrize("name", ["a", "/news/é/", " _anonymous", "x" * 255, "😀", "None", "\xa0"])
def test_names_that_can_be_used(name: str) -> None:
    assert check_name("name", name, 255) == name


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "must be a string"), (5, "must be a string"), (True, "must be a string"),
        ([], "must be a string"), ({}, "must be a string"), ("", "must not be empty"),
        ("x" * 256, "is too long (at most 255 characters)"),
        ("a\x00", "must not contain control characters"),
        ("a\n", "must not contain control characters"),
        ("\x7f", "must not contain control characters"),
        ("\x85", "must not contain control characters"),
        ("\ud800", "must not contain control characters"),
        ("\u2028", "must not contain control characters"),
    ],
)  # fmt: skip
def test_names_that_cannot(value: object, problem: str) -> None:
    with pytest.raises(NameProblem) as caught:
        check_name("channel_name", value, 255)
    assert str(caught.value) == f"channel_name {problem}"


@given(st.text(st.characters(), min_size=1, max_size=20))
def test_the_forbidden_characters_are_four_categories_of_unicode(text: str) -> None:
    forbidden = [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert has_forbidden_characters(text) is bool(forbidden)
    assert (find_fault(text) is Fault.CHARACTERS) is bool(forbidden)
    cleaned = without_forbidden_characters(text)
    assert not has_forbidden_characters(cleaned)
    assert [a for a, b in zip(text, cleaned, strict=True) if a != b] == forbidden


def test_each_character_below_surrogates_and_separators() -> None:
    for code in [*range(0x300), 0x2027, 0x2028, 0x2029, 0x202A, 0xD7FF, 0xD800, 0xDFFF, 0xE000]:
        expected = unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")
        assert has_forbidden_characters(chr(code)) is expected, hex(code)
