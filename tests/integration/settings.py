"""The site of the integration tests: the test settings, and what each site has of its own."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

#: Set by `processes.Pair`: the names of settings and their values.
_OWN = json.loads(os.environ["HOOKBOX_SITE"])

ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.integration.urls"
INSTALLED_APPS = [*INSTALLED_APPS, "tests.integration"]
DATABASES = {
    # By default nothing else is set: the newcomer's SQLite.
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _OWN.pop("DATABASE"),
        "ATOMIC_REQUESTS": _OWN.pop("ATOMIC_REQUESTS", False),
        "OPTIONS": _OWN.pop("DATABASE_OPTIONS", {}),
    }
}
globals().update(_OWN)
