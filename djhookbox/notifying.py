"""Publish changes of a model's objects, in the transaction that makes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar, overload

from django.db import models, transaction
from django.db.models.fields.files import FieldFile
from django.db.models.signals import class_prepared, post_delete, post_save

from .exceptions import HookboxDatabaseError, HookboxError

logger = logging.getLogger("djhookbox")

M = TypeVar("M", bound=models.Model)

#: What has happened to an object.
Event: TypeAlias = Literal["created", "changed", "deleted"]
#: Returns the channels of an object: a name, several names, or None for nobody.
Channels: TypeAlias = Callable[[Any], "str | Iterable[str] | None"]


class Notifier:
    """Publishes the changes of one model.

    Args:
        model: The model.
        channel: Returns the channels of an object.
        fields: The names of the fields whose values are published.

    """

    def __init__(self, model: type[models.Model], channel: Channels, fields: Sequence[str]) -> None:
        self.model = model
        self._channel = channel
        self._fields = [model._meta.get_field(name) for name in fields]  # fails for unknown names
        # A save names foreign keys by one of both.
        self._names = {field.name for field in self._fields}
        self._names |= {getattr(field, "attname", field.name) for field in self._fields}
        self._connect(model)
        class_prepared.connect(self._prepared, weak=False)

    def send(
        self, objects: Iterable[models.Model], event: Event = "changed", *, using: str | None = None
    ) -> None:
        """Publish changes that Django sends no signals for: `bulk_create()` and `update()`.

        Args:
            objects: The objects as they are now.
            event: What has happened to them.
            using: The alias of the database of their transaction.

        """
        for one in objects:
            self._publish(one, event, using or one._state.db or "default")

    # ---- parts -----------------------------------------------------------

    def _connect(self, model: type[models.Model]) -> None:
        """Listen to the signals of the model and its proxies, which have their own."""
        post_save.connect(self._saved, sender=model, weak=False)
        post_delete.connect(self._deleted, sender=model, weak=False)
        for each in model.__subclasses__():
            self._prepared(each)

    def _prepared(self, sender: type[models.Model], **kwargs: object) -> None:
        same = sender._meta.concrete_model is self.model._meta.concrete_model
        if sender._meta.proxy and same and issubclass(sender, self.model):
            self._connect(sender)

    def _saved(self, sender: type[models.Model], **kwargs: Any) -> None:
        if kwargs["raw"]:
            return  # loaddata: other rows may be missing
        updated = kwargs["update_fields"]
        if updated is not None and self._names and self._names.isdisjoint(updated):
            return
        event: Event = "created" if kwargs["created"] else "changed"
        self._publish(kwargs["instance"], event, kwargs["using"])

    def _deleted(self, sender: type[models.Model], **kwargs: Any) -> None:
        self._publish(kwargs["instance"], "deleted", kwargs["using"])

    def _publish(self, one: models.Model, event: Event, using: str) -> None:
        # Not while models are being loaded.
        from .outbox import heads
        from .vouching import decided

        found = self._channel(one)
        channels = [found] if isinstance(found, str) else list(found or ())
        payload = {
            "event": event,
            "model": one._meta.label_lower,
            "pk": one.pk,
            "fields": {field.name: _value(field, one) for field in self._fields},
        }
        for channel in channels:
            try:
                durable = decided(channel, None).options.get("durable")
            except HookboxDatabaseError:
                raise  # the caller's transaction cannot be committed either
            except HookboxError as error:
                logger.error("A change of %r was not published: %s", one, error)
                continue
            if durable and using == heads.database():
                self._publish_now(channel, payload)
            else:  # which is sent or stored at once, so not before others can see it
                transaction.on_commit(
                    lambda channel=channel: self._publish_now(channel, payload),  # type: ignore[misc]
                    using=using,
                    robust=True,
                )

    @staticmethod
    def _publish_now(channel: str, payload: object) -> None:
        from .publishing import publish

        try:
            publish(channel, payload)
        except HookboxDatabaseError:
            raise
        except HookboxError as error:
            logger.error("A change was not published to %s: %s", channel, error)


@overload
def notify(model: type[M], /, *, channel: Channels, fields: Sequence[str] = ...) -> Notifier: ...


@overload
def notify(*, channel: Channels, fields: Sequence[str] = ...) -> Callable[[type[M]], type[M]]: ...


def notify(
    model: type[M] | None = None, /, *, channel: Channels, fields: Sequence[str] = ()
) -> Notifier | Callable[[type[M]], type[M]]:
    """Publish whenever an object of a model, or of a proxy of it, is created, changed or deleted.

    Call it once, in `AppConfig.ready()`, or use it as a decorator of the model. On a durable
    channel, the message is part of the transaction that makes the change; on another channel, or
    if the outbox is in another database, it is sent after the commit. If no policy or handler
    opens the channel, an error is logged.

    `bulk_create()`, `bulk_update()`, `QuerySet.update()`, raw SQL and cascades of the database
    send no signals; pass their objects to `Notifier.send()`.

    Args:
        model: The model; omitted for the decorator.
        channel: Returns the channel of an object, several channels, or None:
            `lambda order: f"/orders/{order.pk}/"`.
        fields: The fields whose values are published. A save with `update_fields` that touches
            none of them is not published.

    Raises:
        FieldDoesNotExist: The model has no such field.

    """
    if model is not None:
        return Notifier(model, channel, fields)

    def decorator(decorated: type[M]) -> type[M]:
        Notifier(decorated, channel, fields)
        return decorated

    return decorator


def _value(field: Any, one: models.Model) -> object:
    value = field.value_from_object(one)
    return value.name if isinstance(value, FieldFile) else value
