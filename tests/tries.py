"""How many examples Hypothesis tries: all of them once, a share of them for each other Python."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

#: In percent. The matrix sets it: in CI the examples are the same each time.
SHARE = int(os.environ.get("HOOKBOX_TEST_EXAMPLES", "100"))


def tries(count: int, **more: Any) -> settings:
    """Return settings to try so many, or the share of them."""
    return settings(max_examples=max(10, count * SHARE // 100), deadline=None, **more)


# A busy machine must not fail a test that is right.
settings.register_profile("patient", tries(100))
settings.load_profile("patient")
