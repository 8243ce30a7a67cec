"""Settings of a site that keeps the logs in a separate database."""

from __future__ import annotations

import os
from typing import Any

from tests.settings import *  # noqa: F403 - it is the same site
from tests.settings import DATABASES as _DATABASES

_OTHER = os.environ.get("HOOKBOX_TEST_DB", "test.sqlite3") + ".realtime"
DATABASES = {
    **_DATABASES,
    "realtime": {**_DATABASES["default"], "NAME": _OTHER, "TEST": {"NAME": _OTHER}},
}
DATABASE_ROUTERS = ["tests.two_databases_settings.Router"]
ROOT_URLCONF = "tests.admin.other_sites"


#: What grows without end. Policies stay where the groups are that they name.
LOGS = frozenset({"connectionlog", "subscriptionlog", "publication", "pruning"})


class Router:
    """Routes only the logs to their database."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        meta = model._meta
        ours = meta.app_label == "djhookbox" and meta.model_name in LOGS
        return "realtime" if ours else None

    db_for_write = db_for_read

    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **hints: Any
    ) -> bool:
        return (db == "realtime") == (app_label == "djhookbox" and model_name in LOGS)
