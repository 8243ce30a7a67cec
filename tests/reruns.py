"""Reruns of failed tests, without losing the ends of fixtures.

pytest-rerunfailures sets aside how the fixtures of modules end while it repeats a test, and puts
that back afterwards. What started only in the repetition is not part of it, and would never end. A
browser that does not end leaves its event loop running, which fails all later tests of the worker.
"""

from __future__ import annotations

import pytest
from pytest_rerunfailures import suspended_finalizers


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Add to what was set aside what has started since."""
    for node, (ends, _) in item.session._setupstate.stack.items():
        if node in suspended_finalizers:
            aside = suspended_finalizers[node][0]
            aside += [end for end in ends if end not in aside]
