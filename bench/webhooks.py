"""A site that allows everything: it answers the webhooks of the server under test without Django.

The replies have the format and size of those of django-hookbox, so that the server stores what it
would store for a real site.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from djhookbox.wire import batches, replies, webhooks
from djhookbox.wire.replies import ConnectReply
from djhookbox.wire.values import dumps
from djhookbox.wire.webhooks import Batch
from tests.stand_ins.site import Site, fields_of

ACCEPTED = ("batch", "events", "json", "message", "prune", "recheck", "subscribe_many")
SITE = Site(ACCEPTED)
SITE.answers["create_channel"] = {"moderated": False, "history_size": 0, "presenceful": False}


async def answer(request: web.Request) -> web.Response:
    """Answer a webhook, or a batch of webhooks."""
    fields = fields_of(await request.read(), request.content_type)
    if fields["action"] == Batch.name:
        batch, _ = webhooks.read(Batch, fields)
        text = batches.write(
            [
                batches.write_one(200, dumps(decide({**each.fields}, each.cookie)))
                for each in batch.calls
            ]
        )
    else:
        text = dumps(decide(fields, request.headers.get("Cookie", "")))
    return web.Response(body=text.encode(), content_type="application/json", headers=SITE.headers)


def decide(fields: Mapping[str, str], cookie: str) -> list[Any]:
    """Allow everything; the cookie names the user of a connection."""
    if fields["action"] != "connect":
        return SITE.answer(fields)
    cookies = dict(part.split("=", 1) for part in cookie.split("; "))
    session = hashlib.sha256(cookies["sessionid"].encode()).hexdigest()
    return replies.write(ConnectReply(cookies["user"], identity=f"session:{session}"))


async def health(request: web.Request) -> web.Response:
    """Answer health checks."""
    return web.Response(text="ok")


def main() -> None:
    """Serve until a signal is received."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    app = web.Application()
    app.router.add_post("/{hook:.*}", answer)
    app.router.add_get("/{path:.*}", health)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main()
