"""The routes of the webhooks, to be included where `HOOKBOX_WEBHOOK_URL` points."""

from __future__ import annotations

from django.urls import re_path

from .views import VIEWS

# With and without the slash: 2011 had none, and the server may be told to send one.
urlpatterns = [
    re_path(rf"^{name}/?$", view, name=f"hookbox_{name}") for name, view in VIEWS.items()
]
