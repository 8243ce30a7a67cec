"""The routes of the site of the integration tests."""

from __future__ import annotations

from django.urls import include, path

from . import doings, project

urlpatterns = [
    path("hookbox/", include("djhookbox.urls")),
    path("do/", doings.do),
]

project.prepare()
