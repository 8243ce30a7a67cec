"""The routes of the site."""

from __future__ import annotations

from tests.urls import urlpatterns

__all__ = ["urlpatterns"]
