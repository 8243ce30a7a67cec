"""Settings of a customized site: local times, another language and its formats, a user model."""

from __future__ import annotations

from tests.settings import *  # noqa: F403 - it is the same site
from tests.settings import INSTALLED_APPS as _APPS
from tests.settings import MIDDLEWARE as _MIDDLEWARE

INSTALLED_APPS = [*_APPS, "tests.accounts"]
AUTH_USER_MODEL = "accounts.Account"
MIDDLEWARE = [
    *(name for name in _MIDDLEWARE if "Session" in name),
    "django.middleware.locale.LocaleMiddleware",
    *(name for name in _MIDDLEWARE if "Session" not in name),
]
USE_TZ = False
TIME_ZONE = "Asia/Kolkata"
LANGUAGE_CODE = "fr-ch"
USE_THOUSAND_SEPARATOR = True
ROOT_URLCONF = "tests.admin.other_sites"
