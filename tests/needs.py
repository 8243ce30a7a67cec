"""What some tests need that not every machine has."""

from __future__ import annotations

import os

import pytest

#: Set by `.ci/run`, and by most services that run tests.
CI = os.environ.get("CI", "").lower() not in ("", "0", "false")


def need(found: object, what: str) -> None:
    """Skip the test and say why unless `found` is true; in CI fail it, so that nothing is lost."""
    if found:
        return
    if CI:
        pytest.fail(f"CI is set, but {what}", pytrace=False)
    pytest.skip(what)
