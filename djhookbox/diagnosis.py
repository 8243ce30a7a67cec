"""Tell a page why it cannot connect, while DEBUG is on; `debugging.js` asks for it."""

from __future__ import annotations

import logging
from dataclasses import replace
from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from .conf import settings
from .wire.urls import bracketed

logger = logging.getLogger("djhookbox")

#: The checks of the doctor that concern a page.
CHECKS = ("process", "webhook", "dns", "tls", "websocket")
#: Seconds to wait for each answer.
TIMEOUT = 2.0


@login_not_required
@never_cache
@require_GET
def diagnosis(request: HttpRequest) -> HttpResponse:
    """Look for what keeps the page that asks from connecting.

    Raises:
        Http404: DEBUG is off.

    """
    if not settings.debug:
        raise Http404
    from .doctor.base import Level, Patient  # not needed in production
    from .doctor.examination import examine

    # What `{% hookbox_script %}` tells the page, and the client completes.
    host = urlsplit(f"//{request.get_host()}").hostname or ""
    scheme = request.scheme or "http"
    public = settings.public_url or f"{scheme}://{bracketed(host)}:{settings.port}"
    patient = replace(
        Patient.from_settings(public, f"{scheme}://{request.get_host()}"),
        proxied=bool(settings.public_url),
        timeout=TIMEOUT,
    )
    problems = [
        {"text": finding.text, "advice": finding.advice}
        for _check, findings in examine(patient, CHECKS)
        for finding in findings
        if finding.level is Level.ERROR
    ]
    for problem in problems:
        logger.warning(
            "A page of %s could not connect: %s %s (Shown because DEBUG is on.)",
            patient.origin, problem["text"], problem["advice"],
        )  # fmt: skip
    return JsonResponse({"problems": problems})
