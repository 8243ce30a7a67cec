"""The settings for starting and stopping the process."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from django.conf import settings as django_settings

from .reading import SettingsReader
from .secrets import derived


class ProcessSettings(SettingsReader):
    """Who controls the process, and where it keeps its files."""

    @property
    def process_control(self) -> bool:
        """Whether the admin may start and stop the process."""
        return self._bool("HOOKBOX_PROCESS_CONTROL", True)

    @property
    def grace_period(self) -> float:
        """Seconds that the process may take to stop."""
        return self._seconds("HOOKBOX_GRACE_PERIOD", 10.0)

    @property
    def run_dir(self) -> Path:
        """Folder of the lock file and the log file, one per project and system user."""
        value = self._path("HOOKBOX_RUN_DIR")
        if value is None:
            key = derived("run-dir", django_settings.SECRET_KEY)
            project = f"{django_settings.SETTINGS_MODULE}:{key}"
            digest = hashlib.sha256(project.encode()).hexdigest()[:12]
            return runtime_dir() / f"hookbox-{os.getuid()}-{digest}"
        return value


def runtime_dir() -> Path:
    """Return the system's folder for runtime files.

    Files in /tmp are deleted after some days, so that is the last choice.
    """
    user = os.getuid()
    # A web server often lacks the variable that a shell of the same user has.
    for candidate in (os.environ.get("XDG_RUNTIME_DIR") or "", f"/run/user/{user}"):
        try:
            if os.path.isabs(candidate) and os.stat(candidate).st_uid == user:
                return Path(candidate)
        except OSError:
            continue
    if os.path.isdir("/run") and os.access("/run", os.W_OK | os.X_OK):
        return Path("/run")
    return Path(tempfile.gettempdir())
