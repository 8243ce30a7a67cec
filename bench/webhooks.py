"""A site that allows everything: it answers the webhooks of the server under test without Django.

The replies have the format and size of those of django-hookbox, so that the server stores what it
would store for a real site.
"""

from __future__ import annotations

import argparse
import hashlib

from aiohttp import web

from djhookbox.wire import replies
from djhookbox.wire.replies import ConnectReply
from djhookbox.wire.values import dumps
from tests.stand_ins.site import Site, fields_of

SITE = Site({"events", "recheck", "message", "prune"})
SITE.answers["create_channel"] = {"moderated": False, "history_size": 0, "presenceful": False}


async def answer(request: web.Request) -> web.Response:
    """Allow everything; the cookie names the user of a connection."""
    fields = fields_of(await request.read(), request.content_type)
    if fields["action"] == "connect":
        session = hashlib.sha256(request.cookies["sessionid"].encode()).hexdigest()
        reply = ConnectReply(request.cookies["user"], identity=f"session:{session}")
        body = replies.write(reply)
    else:
        body = SITE.answer(fields)
    return web.Response(
        body=dumps(body).encode(), content_type="application/json", headers=SITE.headers
    )


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
