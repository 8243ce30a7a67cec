"""Register the admin pages; each class has its own module.

A project with its own `AdminSite`, or with its own base class, registers these classes or
subclasses of them itself.
"""

from __future__ import annotations

from django.contrib import admin

from ..models import (
    Ban,
    ChannelPolicy,
    ConnectionLog,
    Publication,
    Publishing,
    Refusals,
    Server,
    SubscriptionLog,
)
from .bans import BanAdmin
from .logs.page import ConnectionLogAdmin, SubscriptionLogAdmin
from .logs.publications import PublicationAdmin
from .policies.page import ChannelPolicyAdmin
from .publishing.page import PublishingAdmin
from .refusals.page import RefusalsAdmin
from .server.page import ServerAdmin

admin.site.register(Server, ServerAdmin)
admin.site.register(Ban, BanAdmin)
admin.site.register(ChannelPolicy, ChannelPolicyAdmin)
admin.site.register(ConnectionLog, ConnectionLogAdmin)
admin.site.register(SubscriptionLog, SubscriptionLogAdmin)
admin.site.register(Publication, PublicationAdmin)
admin.site.register(Publishing, PublishingAdmin)
admin.site.register(Refusals, RefusalsAdmin)

__all__ = [
    "BanAdmin",
    "ChannelPolicyAdmin",
    "ConnectionLogAdmin",
    "PublicationAdmin",
    "PublishingAdmin",
    "RefusalsAdmin",
    "ServerAdmin",
    "SubscriptionLogAdmin",
]
