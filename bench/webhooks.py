"""A site that allows everything: it answers the webhooks of the server under test without Django.

The replies have the format and size of those of django-hookbox, so that the server stores what it
would store for a real site.
"""

from __future__ import annotations

import argparse
import hashlib
import json

from aiohttp import web

HEADERS = {"X-Hookbox-Accepts": "events, recheck, message, prune"}


async def answer(request: web.Request) -> web.Response:
    """Allow everything; the cookie names the user of a connection."""
    form = await request.post()
    options: dict[str, object] = {}
    if form["action"] == "connect":
        session = hashlib.sha256(request.cookies["sessionid"].encode()).hexdigest()
        options = {"name": request.cookies["user"], "identity": f"session:{session}"}
    elif form["action"] == "create_channel":
        options = {"moderated": False, "history_size": 0, "presenceful": False}
    return web.Response(
        body=json.dumps([True, options]).encode(), content_type="application/json", headers=HEADERS
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
