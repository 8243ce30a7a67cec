"""The initial data of a new demo: three accounts, a few policies, the choices of a poll."""

from typing import NamedTuple

from django.contrib.auth.hashers import ScryptPasswordHasher

#: The policy of the demo's first page.
CHAT_POLICY = "Chat"


class Account(NamedTuple):
    """An account of the demo; its password is its name."""

    name: str
    staff: bool = False


ACCOUNTS = [Account("alice"), Account("bob"), Account("admin", staff=True)]


class QuickHasher(ScryptPasswordHasher):
    """Hashes in a fifth of the usual time."""

    parallelism = 1


def create_all() -> None:
    """Create the initial data."""
    create_accounts()
    create_policies()
    create_dishes()


def create_accounts() -> None:
    """Create the accounts that do not exist yet; do not change existing ones."""
    from django.contrib.auth import get_user_model

    model = get_user_model()
    for name, staff in ACCOUNTS:
        if not model.objects.filter(username=name).exists():
            create = model.objects.create_superuser if staff else model.objects.create_user
            create(name, password=name)


def create_policies() -> None:
    """Create the policies, unless somebody has edited or deleted one in the admin."""
    from django.contrib.admin.models import LogEntry

    from djhookbox.models import Audience, ChannelPolicy

    if LogEntry.objects.filter(content_type__model="channelpolicy").exists():
        return
    policies: dict[str, dict[str, object]] = {
        CHAT_POLICY: {
            "pattern": "/chat/<slug:room>/",
            "publish_audience": Audience.SIGNED_IN,
            "presenceful": True,
            "history_size": 50,
            "history_duration": 24 * 60 * 60,
            "note": "The example site's chat rooms: signed-in users read and write.",
        },
        # Only the site's views publish here. Thanks to the history, pages miss nothing.
        "Tasks": {
            "pattern": "/tasks/",
            "publish_audience": Audience.NOBODY,
            "history_size": 100,
            "note": "The shared list: signed-in users receive changes.",
        },
        "Poll": {
            "pattern": "/poll/<slug:poll>/",
            "publish_audience": Audience.NOBODY,
            "history_size": 1000,
            "note": "The poll: signed-in users receive each vote.",
        },
        "Orders": {
            "pattern": "/orders/",
            "publish_audience": Audience.NOBODY,
            "durable": True,
            "note": "The orders: each message is stored in the transaction that changes an order.",
        },
    }
    for name, fields in policies.items():
        defaults = {"subscribe_audience": Audience.SIGNED_IN, **fields}
        ChannelPolicy.objects.get_or_create(name=name, defaults=defaults)


def create_dishes() -> None:
    """Create the choices of the poll."""
    from .models import Dish

    for name in ("Pizza", "Dal", "Ramen"):
        Dish.objects.get_or_create(name=name)
