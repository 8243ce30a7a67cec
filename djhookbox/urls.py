"""The routes of the webhooks, to be included where `HOOKBOX_WEBHOOK_URL` points."""

from __future__ import annotations

from django.urls import re_path

from . import views

#: Their names are the last part of their paths.
VIEWS = (
    views.connect,
    views.disconnect,
    views.create_channel,
    views.destroy_channel,
    views.subscribe,
    views.unsubscribe,
    views.publish,
    views.message,
    views.events,
    views.recheck,
    views.prune,
    views.subscribe_many,
)

# With and without the slash: 2011 had none, and the server may be told to send one.
urlpatterns = [
    re_path(rf"^{view.__name__}/?$", view, name=f"hookbox_{view.__name__}") for view in VIEWS
]
