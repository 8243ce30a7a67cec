"""The tests' settings with django-unfold, which replaces Django's templates with its own."""

from __future__ import annotations

from tests.settings import *  # noqa: F403 - it is the same site
from tests.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = ["unfold", *_APPS]
ROOT_URLCONF = "tests.admin.other_sites"
