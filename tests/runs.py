"""A run of a Hookbox process, as the site sees it: a boot id, an address, and numbered events."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from djhookbox.conf import settings
from djhookbox.wire.nodes import new_boot_id


class Busy(AssertionError):
    """The site answers that its database is busy."""


class Run:
    """Posts webhooks to the views of this site, with Django's test client."""

    def __init__(self, address: str = "host:8001") -> None:
        self.boot = new_boot_id()
        self.address = address
        self.number = 0

    def post(self, action: str, /, user: str = "", conn: str = "", **fields: Any) -> Any:
        """Make a webhook, and return the options of its answer."""
        form = {
            "action": action, "secret": settings.webhook_secrets[0], "conn_id": conn,
            "identity": "anonymous" if user else "", "user": user, **fields,
        }  # fmt: skip
        headers = {"X-Hookbox-Version": "djhookbox/1.0.0", "X-Hookbox-Boot": self.boot}
        response = Client().post(f"/hookbox/{action}", form, headers=headers)
        if response.status_code == 503:
            raise Busy(response.content)
        assert response.status_code == 200, response.content
        allowed, options = json.loads(response.content)
        assert allowed, options
        return options
