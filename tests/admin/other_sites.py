"""The site with its usual admin, and one of another class, name, place and registration."""

from __future__ import annotations

from importlib.util import find_spec

from django.apps import apps
from django.contrib import admin
from django.urls import path

from djhookbox import admin as ours
from djhookbox.models import (
    Ban,
    ChannelPolicy,
    ConnectionLog,
    Publication,
    Publishing,
    Refusals,
    Server,
    SubscriptionLog,
)
from tests.urls import urlpatterns as usual

REGISTRATIONS = (
    (Ban, ours.BanAdmin),
    (ChannelPolicy, ours.ChannelPolicyAdmin),
    (ConnectionLog, ours.ConnectionLogAdmin),
    (SubscriptionLog, ours.SubscriptionLogAdmin),
    (Publication, ours.PublicationAdmin),
    (Publishing, ours.PublishingAdmin),
    (Refusals, ours.RefusalsAdmin),
    (Server, ours.ServerAdmin),
)


class BackOffice(admin.AdminSite):
    """A site as projects have them."""

    site_header = "Back office"


backoffice = BackOffice(name="backoffice")
if find_spec("unfold") and apps.is_installed("unfold"):
    from unfold.admin import ModelAdmin
    from unfold.sites import UnfoldAdminSite

    backoffice = UnfoldAdminSite(name="backoffice")
    for model, page in REGISTRATIONS:
        backoffice.register(model, type(page.__name__, (page, ModelAdmin), {}))
else:
    for model, page in REGISTRATIONS:
        backoffice.register(model, type(page.__name__, (page,), {"list_per_page": 20}))

urlpatterns = [*usual, path("staff/back-office/", backoffice.urls)]
