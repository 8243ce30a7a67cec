"""The routes of `djhookbox.urls`."""

from djhookbox.urls import urlpatterns

__all__ = ["urlpatterns"]
