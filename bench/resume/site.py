"""The site of the resume benchmark: settings, one page, and a server for it.

`python -m bench.resume.site PORT` serves it; environment variables set the run's folder and ports.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

FOLDER = Path(os.environ["RESUME_FOLDER"])

SECRET_KEY = "resume figures"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "bench.resume.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "/static/"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "djhookbox",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent],
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "db.sqlite3",
        "OPTIONS": {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
        },
    }
}
HOOKBOX_PORT = int(os.environ["RESUME_HOOKBOX_PORT"])
HOOKBOX_CBPORT = int(os.environ["RESUME_SITE_PORT"])
HOOKBOX_PUBLIC_URL = os.environ["RESUME_PUBLIC_URL"]
HOOKBOX_REST_URL = os.environ["RESUME_REST_URLS"].split()
HOOKBOX_ENGINE = os.environ["RESUME_ENGINE"]
HOOKBOX_NODE_URL = os.environ.get("RESUME_NODE_URL", "")
HOOKBOX_RUN_DIR = os.environ.get("RESUME_RUN_FOLDER", FOLDER / "run")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 512


class _Handler(WSGIRequestHandler):
    server_version = "resume"

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def main(port: int) -> None:
    """Serve until killed."""
    os.environ["DJANGO_SETTINGS_MODULE"] = __spec__.name if __spec__ else "bench.resume.site"
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.wsgi import get_wsgi_application

    application: Any = StaticFilesHandler(get_wsgi_application())
    with make_server("127.0.0.1", port, application, _Server, _Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
