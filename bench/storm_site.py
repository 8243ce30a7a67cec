"""The site of the storm, for gunicorn: `bench.storm_site:application`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse

from .batch_cost import configure

#: The variable with the database and whether webhooks may be batched.
VARIABLE = "HOOKBOX_BENCH_SITE"


def unknown(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Do nothing, but keep the site from announcing batches, as any unknown middleware does."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    return middleware


if VARIABLE in os.environ:
    _given = json.loads(os.environ[VARIABLE])
    configure(_given["database"], *(() if _given["batched"] else ("bench.storm_site.unknown",)))
    application = WSGIHandler()
