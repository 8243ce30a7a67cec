"""The WSGI application of a site, called as one of its workers would."""

from __future__ import annotations

import io
import json
import sys
import time
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest


def log_in(name: str) -> str:
    """Create a user unless there is one, and return the key of a new session."""
    from django.contrib.auth import get_user_model, login
    from django.contrib.sessions.backends.db import SessionStore

    request = HttpRequest()
    request.session = SessionStore()
    user, _created = get_user_model().objects.get_or_create(username=name)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session.save()
    return str(request.session.session_key)


class Worker:
    """A worker that handles one request after the other."""

    def __init__(self) -> None:
        self._application = WSGIHandler()

    def post(self, url: str, body: bytes, kind: str, cookie: str = "") -> tuple[Any, float]:
        """Make a webhook; return what it answers, and the seconds that it took."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": url,
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1",
            "HTTP_X_HOOKBOX_VERSION": "djhookbox/1.0.0",
            "HTTP_X_REAL_IP": "127.0.0.1",
            "CONTENT_TYPE": kind,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.version": (1, 0),
        }
        if cookie:
            environ["HTTP_COOKIE"] = cookie
        statuses: list[str] = []
        begin = time.perf_counter()
        response = self._application(environ, lambda status, *_more: statuses.append(status))
        text = b"".join(response)
        response.close()
        took = time.perf_counter() - begin
        answer = json.loads(text) if statuses[0].startswith("200") else [False]
        if answer[0] is not True:
            raise SystemExit(f"{url} was answered {statuses[0]}: {text[:200]!r}")
        return answer[1], took
