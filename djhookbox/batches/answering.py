"""Answer the calls of a batch, each as if it had been made alone.

A batch is not a transaction: whatever one call has changed stays, whatever happens to the others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.middleware.locale import LocaleMiddleware
from django.utils import translation
from django.views.decorators.debug import sensitive_variables

from ..audit import writing
from ..parsing import MalformedWebhook, Received, parse
from ..wire import batches, webhooks
from .rule import Alone, accepts_batches, code_for, why_alone
from .sessions import Loaded, Sessions

logger = logging.getLogger("djhookbox.webhook")

_LOCALE = f"{LocaleMiddleware.__module__}.{LocaleMiddleware.__qualname__}"
_locale = LocaleMiddleware(lambda request: None)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a webhook: an HTTP status, and a body as JSON text."""

    status: int
    text: str


#: Answers a webhook.
View = Callable[[HttpRequest, Received[webhooks.Webhook[object]]], Answer]


class Answering:
    """Answers batches.

    Args:
        views: The views that may be called, and their webhooks, by name.
        malformed: Answers a malformed call, given its name.
        clock: Returns the time in seconds.

    """

    def __init__(
        self,
        views: Mapping[str, tuple[type[webhooks.Webhook[object]], View]],
        malformed: Callable[[MalformedWebhook, str], Answer],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._views = views
        self._malformed = malformed
        self._clock = clock

    @sensitive_variables()
    def answer(self, request: HttpRequest, batch: Received[webhooks.Batch]) -> str:
        """Return the answer to a batch as JSON text."""
        calls = batch.webhook.calls
        if not accepts_batches():  # the settings may have changed since the server was notified
            return batches.write([None] * len(calls))
        began = self._clock()
        sessions = Sessions(request, (each.cookie for each in calls))
        answers: list[str | None] = []
        with writing.together() as rows:
            for index, each in enumerate(calls):
                # The first call is always decided, so that a slow site makes progress.
                seconds = self._clock() - began if index else 0.0
                before = len(rows)
                try:
                    reply = self._one(batch, each, sessions, index, seconds)
                except Exception:
                    # Made alone, it succeeds, or fails in the way that the site expects.
                    logger.warning("A webhook failed in a batch.", exc_info=True)
                    reply = None
                if reply is None:
                    del rows[before:]
                text = None if reply is None else batches.write_one(reply.status, reply.text)
                answers.append(text)
        return batches.write(answers)

    @sensitive_variables()
    def _one(
        self,
        batch: Received[webhooks.Batch],
        each: webhooks.Batched,
        sessions: Sessions,
        index: int,
        seconds: float,
    ) -> Answer | None:
        """Return the answer to one call, or None if it must be made alone."""
        name = each.fields.get("action", "")
        try:
            if name not in self._views:
                raise MalformedWebhook(f"{name!r} cannot be part of a batch.")
            kind, view = self._views[name]
            received = parse(
                kind, each.fields, embedded=batch.embedded, boot=batch.node, explain=batch.explain
            )
            loaded = sessions.loaded(index)
            if _must_be_alone(received, loaded, seconds):
                return None
            with _language(loaded.request):
                return view(loaded.request, received)
        except MalformedWebhook as error:
            return self._malformed(error, name)


def _must_be_alone(
    received: Received[webhooks.Webhook[object]], loaded: Loaded, seconds: float
) -> bool:
    why = why_alone(
        seconds, loaded.backend, by_fallback=loaded.by_fallback, code=code_for(received)
    )
    if why is not None and why is not Alone.TIME:
        logger.debug("A %s webhook must be made alone: %s.", received.webhook.name, why.value)
    return why is not None


@contextmanager
def _language(request: HttpRequest) -> Iterator[None]:
    """Use the language of a call's cookie, if this site does so."""
    if _LOCALE not in django_settings.MIDDLEWARE:
        yield
        return
    with translation.override(translation.get_language()):
        _locale.process_request(request)
        yield
