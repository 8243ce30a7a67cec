"""The tests' settings with a second admin site."""

from __future__ import annotations

from tests.settings import *  # noqa: F403 - it is the same site

ROOT_URLCONF = "tests.admin.other_sites"
