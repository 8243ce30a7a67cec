"""Compare the cost of a subscribe webhook decided by a policy with a minimal view.

The bare view reads `request.user` and inserts one row into the same log table. Both are called
alternately through the WSGI handler and the middleware of `startproject`, with the session cookie
of the same user, on one SQLite file that is kept in memory if possible: waiting for a disk would
hide the difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
from statistics import median
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import include, path, reverse
from django.views.decorators.csrf import csrf_exempt

from djhookbox.wire import bodies

from .worker import Worker, log_in

SECRET = "bench-webhook-secret"
CHANNEL = "/bench/room/"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


@csrf_exempt
def bare(request: HttpRequest) -> JsonResponse:
    """Read the user and insert one row."""
    from djhookbox.models import SubscriptionLog

    SubscriptionLog.objects.create(
        event=SubscriptionLog.Event.SUBSCRIBE,
        channel=request.POST["channel_name"],
        user_name=request.user.get_username(),
        connection_id=request.POST["conn_id"],
    )
    return JsonResponse([True, {}], safe=False)


#: Filled in by `configure`, as the views can only be imported once Django is set up.
urlpatterns: list[Any] = []


def set_up(urlconf: str, database: dict[str, Any], *middleware: str) -> None:
    """Configure Django with a URLconf, an entry of DATABASES and further MIDDLEWARE."""
    settings.configure(
        SECRET_KEY="bench",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=urlconf,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "djhookbox",
        ],
        MIDDLEWARE=[*MIDDLEWARE, *middleware],
        # Reopening the database for each request would make the bare view more expensive.
        DATABASES={"default": {**database, "CONN_MAX_AGE": None}},
        HOOKBOX_WEBHOOK_SECRET=SECRET,
    )
    django.setup()


def configure(folder: str) -> None:
    """Set up a site, its database, a user and twenty policies of which the last matches."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/bench.sqlite3"}
    set_up(__name__, database)
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    from djhookbox.models import Audience, ChannelPolicy

    urlpatterns.extend([path("bare/", bare), path("hookbox/", include("djhookbox.urls"))])
    call_command("migrate", verbosity=0)
    get_user_model().objects.create(username="alice")
    patterns = [*(f"/other-{number}/<slug:room>/" for number in range(19)), "/bench/<slug:room>/"]
    # In bulk: there is no Hookbox process to notify of new policies.
    ChannelPolicy.objects.bulk_create(
        ChannelPolicy(
            name=f"policy {number}",
            pattern=pattern,
            order=number,
            subscribe_audience=Audience.SIGNED_IN,
        )
        for number, pattern in enumerate(patterns)
    )


class Calls:
    """The form of the webhook, posted to either view."""

    def __init__(self, session: str) -> None:
        self._worker = Worker()
        self._cookie = f"sessionid={session}"
        identity = hashlib.sha256(b"djhookbox.session" + session.encode()).hexdigest()
        self._form = bodies.as_form(
            {
                "action": "subscribe",
                "secret": SECRET,
                "conn_id": "0" * 32,
                "user": "alice",
                "identity": f"session:{identity}",
                "channel_name": CHANNEL,
            }
        )

    def post(self, url: str) -> float:
        """Send the form; return the time it took in seconds."""
        return self._worker.post(url, self._form, bodies.FORM_TYPE, self._cookie)[1]


def queries(calls: Calls, url: str) -> int:
    """Return how many queries the view makes."""
    from django.db import connection

    count = 0

    def counted(execute: Any, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*arguments)

    with connection.execute_wrapper(counted):
        calls.post(url)
    return count


def main() -> None:
    """Measure both and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.path.isdir(memory) else None) as folder:
        configure(folder)
        from djhookbox.models import SubscriptionLog

        calls = Calls(log_in("alice"))
        urls = {"webhook": reverse("hookbox_subscribe"), "bare": "/bare/"}
        counts = {name: queries(calls, url) for name, url in urls.items()}
        runs: dict[str, list[float]] = {name: [] for name in urls}
        for _ in range(options.runs):
            times: dict[str, list[float]] = {name: [] for name in urls}
            for _ in range(options.calls):
                for name, url in urls.items():
                    times[name].append(calls.post(url))
            for name in urls:
                runs[name].append(median(times[name]))
        rows = SubscriptionLog.objects.count()
        if rows != 2 * (options.runs * options.calls + 1):
            raise SystemExit(f"{rows} rows were written")
    ratio = median(one / base for one, base in zip(runs["webhook"], runs["bare"], strict=True))
    result = {"ratio": ratio, **{name: median(values) for name, values in runs.items()}}
    result |= {f"{name}_queries": count for name, count in counts.items()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
