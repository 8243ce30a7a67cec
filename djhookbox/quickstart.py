"""The first message: an example policy, and a page that exists only while DEBUG is on."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

import djhookbox

from .conf import settings
from .exceptions import HookboxError
from .models import Audience, ChannelPolicy

#: The only channel that the example opens.
CHANNEL = "/quickstart/"
#: The name of the policy.
POLICY = "Quick start"
#: Characters of a message from the page.
LONGEST = 500


def create_policy() -> bool:
    """Create the example policy; return False if it exists."""
    _row, created = ChannelPolicy.objects.get_or_create(
        name=POLICY,
        defaults={
            "pattern": CHANNEL,
            "order": 0,  # before a policy that may cover everything
            "create_audience": Audience.EVERYONE,
            "subscribe_audience": Audience.EVERYONE,
            "publish_audience": Audience.NOBODY,
            "history_size": 20,
            "note": _("Created by “manage.py hookbox quickstart”. Delete it when you are done."),
        },
    )
    return created


def remove_policy() -> bool:
    """Delete the example policy; return False if there is none."""
    rows = ChannelPolicy.objects.filter(name=POLICY)
    for row in rows:
        row.delete()  # one by one: its receivers drop caches and tell the process
        return True
    return False


@login_not_required
@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """Show what arrives on the example channel, and publish to it.

    Raises:
        Http404: DEBUG is off.

    """
    if not settings.debug:
        raise Http404
    problem = ""
    if request.method == "POST":
        text = request.POST.get("text", "").strip()[:LONGEST]
        try:
            djhookbox.publish(CHANNEL, {"text": text or _("It works.")}, user=request.user)
        except HookboxError as error:
            problem = str(error)
        else:
            return HttpResponseRedirect(reverse("hookbox_quickstart"))
    context = {
        "channel": CHANNEL,
        "problem": problem,
        "exists": ChannelPolicy.objects.filter(name=POLICY, enabled=True).exists(),
    }
    return render(request, "djhookbox/quickstart.html", context)
