"""Static files storages that sites use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage

STORAGES = {
    "plain": "django.contrib.staticfiles.storage.StaticFilesStorage",
    "hashed": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
    "aggregated": "tests.static_storages.Aggregating",
    "only hashed": "whitenoise.storage.CompressedManifestStaticFilesStorage",
}


class Aggregating(ManifestStaticFilesStorage):
    """Also renames the files that modules import."""

    support_js_module_import_aggregation = True


def storages(name: str, root: Path) -> dict[str, Any]:
    """Return the settings of a site with this storage."""
    return {
        "DEBUG": False,
        "STATIC_ROOT": str(root),
        "STATIC_URL": "/assets/",
        "STORAGES": {
            "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
            "staticfiles": {"BACKEND": STORAGES[name]},
        },
        "WHITENOISE_KEEP_ONLY_HASHED_FILES": name == "only hashed",
    }
