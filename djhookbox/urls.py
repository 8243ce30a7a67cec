"""The routes of the webhooks, to be included where `HOOKBOX_WEBHOOK_URL` points.

And that of the quick start's page, for the developer.
"""

from __future__ import annotations

from django.urls import re_path

from .quickstart import page
from .views import VIEWS

# With and without the slash: 2011 had none, and the server may be told to send one.
urlpatterns = [
    re_path(rf"^{name}/?$", view, name=f"hookbox_{name}") for name, view in VIEWS.items()
]
# Answers 404 unless DEBUG is on.
urlpatterns.append(re_path("^quickstart/$", page, name="hookbox_quickstart"))
