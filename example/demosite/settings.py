"""The example site's settings. Lines for django-hookbox are marked with its name."""

import os
import secrets
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

#: Folder for the database, logs and run files; change it with the environment variable DEMO_DIR.
DATA_DIR = Path(os.environ.get("DEMO_DIR") or BASE_DIR.parent / "demo").resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)


def _secret_key() -> str:
    """Return a key for this copy only; with a published key, anybody could sign sessions."""
    path = DATA_DIR / "secret-key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48))
    return path.read_text()


SECRET_KEY = _secret_key()
DEBUG = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "djhookbox",  # django-hookbox
    "demosite",
]

# django-hookbox: only necessary because `make demo` has options.
HOOKBOX_CBPORT = int(os.environ.get("DEMO_PORT") or 8000)
HOOKBOX_PORT = int(os.environ.get("DEMO_HOOKBOX_PORT") or 8001)
HOOKBOX_ENGINE = os.environ.get("DEMO_ENGINE") or "memory"
HOOKBOX_WORKERS = int(os.environ.get("DEMO_WORKERS") or 1)
HOOKBOX_AUTOSTART = False  # demo.py starts it
HOOKBOX_RUN_DIR = DATA_DIR / f"run-{HOOKBOX_PORT}"

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "demosite.urls"
WSGI_APPLICATION = None

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "db.sqlite3",
        # Several threads write logs: let them wait for each other without blocking readers.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# With Django's default, hashing takes seconds on a slow machine, for each account and each login.
# Do not copy this: the passwords of the demo are public, and those of your site are secret.
PASSWORD_HASHERS = [
    "demosite.accounts.QuickHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]

# All ports of a host share cookies; these names avoid logging you out of other projects.
SESSION_COOKIE_NAME = "hookbox_demo_session"
CSRF_COOKIE_NAME = "hookbox_demo_csrf"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
