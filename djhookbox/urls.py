"""The routes of the webhooks, to be included where `HOOKBOX_WEBHOOK_URL` points.

And two for the developer: the quick start's page, and what pages ask if they cannot connect.
"""

from __future__ import annotations

from django.urls import re_path

from .diagnosis import diagnosis
from .quickstart import page
from .views import VIEWS

# With and without the slash: in 2011 there was none, and an option of the server may add one.
urlpatterns = [
    re_path(rf"^{name}/?$", view, name=f"hookbox_{name}") for name, view in VIEWS.items()
]
# These answer 404 unless DEBUG is on.
urlpatterns += [
    re_path("^quickstart/$", page, name="hookbox_quickstart"),
    re_path("^diagnosis/$", diagnosis, name="hookbox_diagnosis"),
]
