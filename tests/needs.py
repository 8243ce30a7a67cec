"""Requirements of tests that not every machine meets."""

from __future__ import annotations

import os

import pytest

#: Set by `.ci/run`, and by most services that run tests.
CI = os.environ.get("CI", "").lower() not in ("", "0", "false")


def need(found: object, what: str) -> None:
    """Skip the test with a reason unless `found` is true; in CI, fail it instead."""
    if found:
        return
    if CI:
        pytest.fail(f"CI is set, but {what}", pytrace=False)
    pytest.skip(what)
