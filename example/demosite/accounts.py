"""What a new demo begins with: three accounts, and the chat's policy."""

from typing import NamedTuple

#: The names of the policies that the demo itself makes.
CHAT_POLICY = "Chat"


class Account(NamedTuple):
    """An account of the demo; its password is its name."""

    name: str
    staff: bool = False


ACCOUNTS = [Account("alice"), Account("bob"), Account("admin", staff=True)]


def create_accounts() -> None:
    """Create the accounts that do not exist; those that do are left as they are."""
    from django.contrib.auth import get_user_model

    model = get_user_model()
    for name, staff in ACCOUNTS:
        if not model.objects.filter(username=name).exists():
            create = model.objects.create_superuser if staff else model.objects.create_user
            create(name, password=name)


def create_policies() -> None:
    """Create the chat's policy once: whoever deletes or edits it in the admin has meant it."""
    from django.contrib.admin.models import LogEntry

    from djhookbox.models import Audience, ChannelPolicy

    edited = LogEntry.objects.filter(content_type__model="channelpolicy").exists()
    if ChannelPolicy.objects.filter(name=CHAT_POLICY).exists() or edited:
        return
    ChannelPolicy.objects.create(
        name=CHAT_POLICY,
        pattern="/chat/<slug:room>/",
        subscribe_audience=Audience.SIGNED_IN,
        publish_audience=Audience.SIGNED_IN,
        presenceful=True,
        history_size=50,
        history_duration=24 * 60 * 60,
        note="The example site's chat rooms: whoever is signed in reads and writes.",
    )
