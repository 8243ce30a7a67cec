"""A site that answers webhooks: it allows everything unless a test sets another answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from djhookbox.wire import bodies, options, replies, webhooks
from djhookbox.wire.replies import Refused
from djhookbox.wire.webhooks import SubscribeMany

#: What an answer can be: the fields of a reply, a refusal, or a function of the webhook's fields
#: that returns one of them. An exception is raised where the site is asked.
Answer: TypeAlias = Mapping[str, Any] | Refused | Exception | Callable[[Mapping[str, str]], Any]


class Site:
    """Decide as told; the payload of CONNECT is the name of the user.

    Attributes:
        accepted: What the site supports beyond 0.3.3.
        answers: The answers by the names of webhooks.
        decided: The names of the decisions made, whether alone or together.

    """

    def __init__(self, accepted: Iterable[str] = ()) -> None:
        self.accepted = frozenset(accepted)
        self.answers: dict[str, Answer] = {}
        self.decided: list[str] = []

    @property
    def headers(self) -> dict[str, str]:
        """The headers of each answer."""
        return {"X-Hookbox-Accepts": ", ".join(sorted(self.accepted))} if self.accepted else {}

    def answer(self, fields: Mapping[str, str]) -> list[Any]:
        """Return the reply to the webhook with these fields, as a JSON value."""
        hook = fields["action"]
        if hook == SubscribeMany.name and hook not in self.answers:
            webhook, _ = webhooks.read(SubscribeMany, fields)
            return [True, {"channels": self._decide_many(webhook)}]
        return self._decide(hook, fields)

    def name(self, fields: Mapping[str, str]) -> object:
        """Return the name of a user who connects; a payload that is not JSON names nobody."""
        try:
            return json.loads(fields["payload"])
        except ValueError:
            return None

    def refusal(self, error: Exception) -> Refused:
        """Return the refusal that an exception stands for, or raise it."""
        raise error

    def _decide(self, hook: str, fields: Mapping[str, str]) -> list[Any]:
        self.decided.append(hook)
        answer = self.answers.get(hook, {})
        if callable(answer):
            answer = answer(fields)
        if isinstance(answer, Exception):
            answer = self.refusal(answer)
        if isinstance(answer, Refused):
            return replies.write(answer)
        given = dict(answer)
        if hook == webhooks.Connect.name and "name" not in given:
            given["name"] = self.name(fields)
        return [True, given]

    def _decide_many(self, webhook: SubscribeMany) -> dict[str, Any]:
        """Decide as the single webhooks would."""
        answers: dict[str, Any] = {}
        for wanted in webhook.channels:
            own = {"channel_name": wanted.channel_name, "user": webhook.user}
            answer = answers[wanted.channel_name] = {}
            asks = wanted.subscribe
            if wanted.create:
                answer["create"] = allowed, given = self._decide("create_channel", own)
                asks = asks or (allowed and options.asks(given, "subscribe"))
            if asks:
                answer["subscribe"] = self._decide("subscribe", own)
        return answers


def fields_of(body: bytes, media_type: str) -> dict[str, str]:
    """Return the fields of a webhook's body, which is a form or JSON."""
    if media_type == bodies.JSON_TYPE:
        return bodies.from_json(body)
    return dict(parse_qsl(body.decode(), keep_blank_values=True))
