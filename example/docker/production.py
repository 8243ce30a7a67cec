"""The settings in containers: what differs from settings.py, which is next to this file."""

import os

from .settings import *  # noqa: F403

DEBUG = False
SECRET_KEY = os.environ["SECRET_KEY"]
SITE_HOST = os.environ["SITE_HOST"]
ALLOWED_HOSTS = [SITE_HOST, "web"]  # the process sends its webhooks to "web"
STATIC_ROOT = "/static"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "database",
        "NAME": "site",
        "USER": "site",
        "PASSWORD": os.environ["DATABASE_PASSWORD"],
    }
}
# The proxy ends TLS, and is the only one that can reach the site.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True

HOOKBOX_PUBLIC_URL = f"https://{SITE_HOST}/realtime"  # from browsers, through the proxy
HOOKBOX_WEBHOOK_URL = "http://web:8000/hookbox"  # from the process to Django
HOOKBOX_REST_URL = "http://hookbox:8001"  # from Django to the process
HOOKBOX_INTERFACE = "0.0.0.0"  # inside its container
HOOKBOX_TRUSTED_PROXIES = ["172.16.0.0/12"]  # the network of the containers
HOOKBOX_PROCESS_CONTROL = False  # Docker starts and stops it
