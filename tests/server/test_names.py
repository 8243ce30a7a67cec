"""Which names channels and users can have."""

from __future__ import annotations

import pytest

from djhookbox.server.names import NameProblem, check_name


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
