"""The site of the fuzzer: it mostly allows, and sometimes answers with garbage."""

from __future__ import annotations

import argparse
import random

from aiohttp import web

from tests.stand_ins.site import Site, fields_of

#: Webhooks about these are answered correctly.
BYSTANDERS = ("by1", "by2")
CHANNEL = "/bystanders/"

RUBBISH = [
    "", "null", "true", "[]", "[true]", "[true, []]", "[true, {}, 1]", "<html>no</html>", "[true,",
    '[false, {"error": 5}]', '[false, {"error": "sorry, é"}]', "[false, {}]", '[true, {"x": NaN}]',
    '[true, {"name": 5}]', '[true, {"history_size": "5"}]', '[true, {"auto_subscribe": "abc"}]',
    '[true, {"auto_subscribe": ["/fuzz/1/", 5]}]', '[true, {"auto_unsubscribe": ["/fuzz/2/"]}]',
    '[true, {"name": "", "polling": {"mode": "once"}}]', '[true, {"override_payload": {"a": 1}}]',
    '[true, {"initial_data": [[]]}]', "[" * 300 + "]" * 300,
]  # fmt: skip


def main() -> None:
    """Serve until a signal is received."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args()
    rnd = random.Random(args.seed)
    site = Site({"events"})
    site.answers["connect"] = lambda form: {"name": form["payload"].strip('"') or "somebody"}
    site.answers["create_channel"] = lambda form: {
        "moderated": rnd.random() < 0.1,
        "history_size": rnd.choice([0, 0, 3]),
        "presenceful": rnd.random() < 0.3,
    }

    async def answer(request: web.Request) -> web.Response:
        form = fields_of(await request.read(), request.content_type)
        name = form.get("payload", "").strip('"')
        concerned = {form.get("channel_name"), form.get("user"), name}
        if rnd.random() < 0.1 and concerned.isdisjoint((CHANNEL, *BYSTANDERS)):
            status = rnd.choice([200, 200, 200, 500, 302, 403])
            return web.Response(status=status, text=rnd.choice(RUBBISH))
        return web.json_response(site.answer(form), headers=site.headers)

    app = web.Application(client_max_size=16 * 1_048_576)
    app.router.add_post("/{path:.*}", answer)
    web.run_app(app, host="127.0.0.1", port=args.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
