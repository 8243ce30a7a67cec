"""The daily reminder, from the server's code to a real site's database."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from django.utils import timezone

from djhookbox.audit import pruning
from djhookbox.conf import settings as hookbox_settings
from djhookbox.models import ConnectionLog, Pruning
from djhookbox.server.config import ServerConfig
from djhookbox.server.metrics import Metrics
from djhookbox.server.site.housekeeping import BREATH, DAY, FIRST, Housekeeping
from djhookbox.server.site.webhooks import Webhooks
from djhookbox.wire.webhooks import Events


async def remind(url: str, times: int) -> list[float]:
    """Let a server that nobody has connected to yet remind the site; return its pauses."""
    config = ServerConfig(
        webhook_url=f"{url}/hookbox",
        webhook_secret=hookbox_settings.webhook_secrets[0],
        version="1.0.0",
    )
    webhooks = Webhooks(config, Metrics(0.0))
    await webhooks.start()
    try:
        housekeeping = Housekeeping(webhooks)
        pauses = [await housekeeping.remind()]
        await webhooks.send(Events("[]"))  # whose answer says what the site knows
        return pauses + [await housekeeping.remind() for _number in range(times)]
    finally:
        await webhooks.stop()


@pytest.mark.django_db(transaction=True)
def test_a_site_prunes_when_it_is_reminded(
    live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = timezone.now() - datetime.timedelta(days=31)
    ConnectionLog.objects.bulk_create([ConnectionLog(created=old) for _ in range(5)])
    recent = ConnectionLog.objects.create()
    original = pruning.prune
    hurried = [True]

    def prune(days: int, **kwargs: Any) -> pruning.Pruned:
        # The first time there is no time for more than one batch.
        more: dict[str, Any] = {"seconds": 0.0, "batch": 2} if hurried and hurried.pop() else {}
        return original(days, **{**kwargs, **more})

    monkeypatch.setattr(pruning, "prune", prune)
    assert asyncio.run(remind(live_server.url, 2)) == [FIRST, BREATH, DAY]
    assert list(ConnectionLog.objects.all()) == [recent]
    note = Pruning.last()
    assert note is not None
    assert (note.connections, note.complete) == (5, True)
