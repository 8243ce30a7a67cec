"""The tests' settings, for a site that is looked at: strict, in several languages."""

from __future__ import annotations

import os
from pathlib import Path

from tests.settings import *  # noqa: F403 - it is the same site
from tests.settings import MIDDLEWARE as _MIDDLEWARE

FOLDER = Path(os.environ["ADMIN_SITE_FOLDER"])

DEBUG = True  # so that runserver serves the static files
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "db.sqlite3",
        "OPTIONS": {"timeout": 20},
    }
}
ROOT_URLCONF = "tests.admin_site.urls"
#: Nobody listens there: what the process says, `moods.py` says.
HOOKBOX_PORT = 9
HOOKBOX_RUN_DIR = FOLDER / "run"
MIDDLEWARE = [
    *_MIDDLEWARE,
    "django.middleware.locale.LocaleMiddleware",
    "tests.admin_site.moods.middleware",
]
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("ar", "العربيّة")]
#: What our part says from right to left, for tests only.
LOCALE_PATHS = [Path(__file__).resolve().parent.parent / "locale"]
