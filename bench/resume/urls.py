"""The routes of the resume benchmark's site: the webhooks and the page."""

from __future__ import annotations

from django.urls import include, path
from django.views.generic import TemplateView

urlpatterns = [
    path("hookbox/", include("djhookbox.urls")),
    path("", TemplateView.as_view(template_name="page.html")),
]
