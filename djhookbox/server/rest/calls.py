"""The calls of the REST API, except for the reports."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from ...wire import answers, events, rest, webhooks
from ...wire.closing import is_valid_code
from ...wire.fields import ABSENT, given
from ...wire.names import check_name
from ...wire.options import CHANNEL_DEFAULTS, user_options
from ...wire.replies import SubscribeReply
from ...wire.values import JSON, dumps, loads
from ..channels.durable import Durable
from ..channels.keys import Keys
from ..channels.lifecycle import Lifecycle
from ..channels.outcomes import Applied, ChannelGone
from ..channels.proposals import Proposals
from ..channels.publications import Publications, Stored
from ..clients.commands import parse_payload
from ..config import ConfigError, changed_config
from ..core import snapshots
from ..core.changes import SetOptions, SetState, Subscribe, Unsubscribe
from ..core.messages import message
from ..core.model import Channel, User
from ..refusals import Refusal
from ..runtime import Runtime
from ..site.rechecks import Rechecks
from ..site.revoking import Revoking
from .failures import NoChannel
from .forms import (
    AtOnce,
    BadCall,
    Form,
    bound,
    bound_at_once,
    compiled,
    missing,
    not_json,
    when_made,
)
from .publishing import Begun, Publishing, outcome
from .reports import Reports, named_user

logger = logging.getLogger("djhookbox.server.rest")


class Calls:
    """The REST calls by name."""

    def __init__(
        self,
        runtime: Runtime,
        proposals: Proposals,
        durable: Durable,
        lifecycle: Lifecycle,
        publications: Publications,
        rechecks: Rechecks,
        revoking: Revoking,
        reports: Reports,
    ) -> None:
        self.secrets = runtime.config.rest_secrets
        self._config = runtime.config
        self._clock = runtime.clock
        self._hub = runtime.hub
        self._delivery = runtime.delivery
        self._connections = runtime.connections
        self._webhooks = runtime.webhooks
        self._events = runtime.events
        self._metrics = runtime.metrics
        self._proposals = proposals
        self._cluster = runtime.cluster
        self._durable = durable
        self._tasks = runtime.tasks
        self._lifecycle = lifecycle
        self._publications = publications
        self._rechecks = rechecks
        self._revoking = revoking
        self._keys: Keys[Applied] = Keys(runtime.clock)
        self.publishing = Publishing(runtime, publications, self._publish_late)
        #: Calls that are tried first, because they are mostly answered without waiting.
        self.at_once: dict[str, AtOnce] = {
            "publish": bound_at_once(rest.Publish, self.publishing.at_once)
        }
        self.by_name: dict[str, Callable[[Form], Awaitable[dict[str, object]]]] = {
            "publish": bound(rest.Publish, self._publish),
            "publish_many": bound(rest.PublishMany, self._publish_many),
            "publish_multi": bound(rest.PublishMulti, self._publish_multi),
            "message": bound(rest.Message, self._message),
            "poke": bound(rest.Poke, self._poke),
            "cursor": bound(rest.Cursor, self._cursor),
            "subscribe": bound(rest.Subscribe, self._subscribe),
            "unsubscribe": bound(rest.Unsubscribe, self._unsubscribe),
            "disconnect": bound(rest.Disconnect, self._disconnect),
            "recheck": bound(rest.Recheck, self._recheck),
            "revoke": bound(rest.Revoke, self._revoke),
            "create_channel": bound(rest.CreateChannel, self._create_channel),
            "destroy_channel": bound(rest.DestroyChannel, self._destroy_channel),
            "get_channel_info": bound(rest.GetChannelInfo, self._get_channel_info),
            "set_channel_options": bound(
                rest.SetChannelOptions, self._set_channel_options, first=self._named
            ),
            "state_set_key": bound(rest.StateSetKey, self._state_set_key),
            "state_delete_key": bound(rest.StateDeleteKey, self._state_delete_key),
            "set_user_options": bound(rest.SetUserOptions, self._set_user_options),
            "set_config": bound(rest.SetConfig, self._set_config, what="form key"),
            **reports.by_name,
        }

    # ---- publications ----------------------------------------------------

    async def _publish(self, request: rest.Publish) -> answers.Published:
        name = self._checked(request.channel_name)
        if name in self._hub.channels or request.options is not None:
            return await self._publish_one(name, request)
        async with self._lifecycle.using(name):  # before reading the payload, as in 0.3.3
            return await self._publish_one(name, request)

    async def _publish_one(self, name: str, request: rest.Publish) -> answers.Published:
        payload = parse_payload(request.payload)
        if not request.key:
            return self.publishing.answer(await self._publish_to(name, payload, request), request)
        published = await self._keys.once(
            name, request.key, lambda: self._publish_to(name, payload, request)
        )
        return self.publishing.answer(published, request)

    async def _publish_many(self, request: rest.PublishMany) -> answers.PublishedMany:
        """Publish in order, without waiting for each answer of an engine that takes time.

        A channel that is not live is waited for, so that whatever follows comes after it.
        """
        begun: list[answers.Outcome | Begun] = []
        for each in request.publications:
            one = rest.Publish(
                each.channel_name, each.originator, each.options, request.recorded,
                origin=each.origin, payload=each.payload, made=request.made,
                traceparent=request.traceparent,
            )  # fmt: skip
            begun.append(self.publishing.begin_one(one) or await outcome(self._publish_late(one)))
        return answers.PublishedMany(tuple([
            each if isinstance(each, answers.Outcome)
            else await outcome(self.publishing.end(each))
            for each in begun
        ]))  # fmt: skip

    async def _publish_late(self, one: rest.Publish) -> answers.Published:
        await self._proposals.attach(one.channel_name)  # perhaps only other nodes have it
        return await self._publish(one)

    async def _publish_multi(self, request: rest.PublishMulti) -> answers.Published:
        names = [name for name in request.channel_names.split(",") if name]
        if not names:
            raise missing("channel_names")
        payload = parse_payload(request.payload)
        live = [name for name in names if name in self._hub.channels]  # skip others (0.3.4)
        if self._cluster is None:
            outcomes = [await self._publish_to(name, payload, request) for name in live]
        else:  # in order, without waiting for each answer of the shared engine
            works = [self._publish_to(name, payload, request) for name in live]
            outcomes = await asyncio.gather(*works)
        return answers.Published(sum(applied.delivered for applied in outcomes))

    async def _publish_to(
        self, name: str, payload: JSON, request: rest.Publish | rest.PublishMulti
    ) -> Applied:
        user, options = request.originator, request.options
        # On one node, `Keys` suffices; other nodes know the key through the engine.
        key = request.key if self._cluster and isinstance(request, rest.Publish) else ""
        channel = self._hub.channels.get(name)
        publication: int | None = None
        if channel is None and options is not None and options.get("durable"):
            raise Stored(name)
        if channel is None and options is not None:
            # The site has decided. Without subscribers, only a history justifies a channel, or
            # somebody who may return to it.
            if not options.get("history_size") and await self._publications.skip(name):
                self.publishing.report(name, payload, request, 0)
                return Applied(0)
            channel = await self._lifecycle.create(name, options)
        if channel is None or request.send_hook:
            async with self._lifecycle.using(name) as channel:
                if request.send_hook:
                    stored = secrets.token_hex(16) if channel.options.durable else ""
                    webhook = webhooks.Publish(name, dumps(payload), user=user or "", key=stored)
                    reply = (await self._webhooks.send(webhook)).check()
                    if reply.stored:
                        self._durable.poke()  # and do not wait: the caller may be the site
                        return Applied(0)
                    payload = given(reply.override_payload, payload)
                    publication = reply.publication
                published = await self._publications.publish(
                    channel, payload, user, key=key, made=when_made(request)
                )
        else:
            published = await self._publications.publish(
                channel, payload, user, key=key, made=when_made(request)
            )
        self._metrics.messages_in += 1
        delivered = published.delivered
        if publication is not None:
            self._events.add(events.Delivered(publication, delivered))
        else:
            self.publishing.report(name, payload, request, delivered)
        return published

    async def _poke(self, request: rest.Poke) -> answers.Poked:
        return answers.Poked(round(self._durable.poke(request.pushed), 4))

    async def _cursor(self, request: rest.Cursor) -> answers.CursorAnswer:
        history = bool((request.options or {}).get("history_size"))
        name = self._checked(request.channel_name)
        return answers.CursorAnswer(await self._publications.cursor(name, history))

    async def _message(self, request: rest.Message) -> answers.Published:
        sender, recipient = request.sender_name, request.recipient_name
        payload = parse_payload(request.payload)
        if request.send_hook:
            webhook = webhooks.Message(
                sender=sender,
                recipient=recipient,
                recipient_exists=str(await self._exists(recipient)),
                payload=dumps(payload),
            )
            reply = (await self._webhooks.send(webhook)).check()
            payload = given(reply.override_payload, payload)
            if reply.override_recipient_name is not None:
                recipient = reply.override_recipient_name
        if self._cluster is not None:
            reached = await self._cluster.message(sender, recipient, payload, reflect=False)
            if reached is None:
                raise Refusal(f"User {recipient} doesn't exist")
            return answers.Published(reached)
        if recipient not in self._hub.users:
            raise Refusal(f"User {recipient} doesn't exist")
        effects, delivered = message(self._hub, sender, recipient, payload, self._clock(), False)
        self._delivery.perform(effects)
        return answers.Published(delivered)

    async def _exists(self, name: str) -> bool:
        if self._cluster is not None:
            return await self._cluster.is_anywhere(name)
        return name in self._hub.users

    # ---- subscriptions and connections -----------------------------------

    async def _subscribe(self, request: rest.Subscribe) -> answers.Done:
        name = self._checked(request.channel_name)
        user, options = named_user(self._hub, request.user_name), request.options
        if name not in self._hub.channels and options is not None and options.get("durable"):
            CHANNEL_DEFAULTS.changed(options)
            # The site may be waiting for this answer, and its stream must be loaded first.
            self._tasks.start(self._subscribe_later(user, name, options))
            return answers.Done()
        if not request.send_hook and (name in self._hub.channels or options is not None):
            channel = await self._lifecycle.create(name, options or {})
            await self._subscribe_by_code(user, channel)
            return answers.Done()
        if options is not None:
            await self._lifecycle.create(name, options)
        async with self._lifecycle.using(name) as channel:
            reply = SubscribeReply()
            if request.send_hook:
                reply = (await self._webhooks.send(webhooks.Subscribe(name, user.name))).check()
            await self._subscribe_by_code(user, channel, reply.initial_data)
        return answers.Done()

    async def _subscribe_later(self, user: User, name: str, options: Mapping[str, object]) -> None:
        try:
            channel = await self._lifecycle.create(name, options)
            await self._subscribe_by_code(user, channel)
        except Refusal as refusal:
            logger.warning("%r was not subscribed to %r: %s", user.name, name, refusal)

    async def _subscribe_by_code(
        self, user: User, channel: Channel, initial: object = ABSENT
    ) -> None:
        if self._hub.users.get(user.name) is not user:
            raise Refusal(f"User {user.name} doesn't exist")
        arrives = user.name not in channel.subscribers
        change = Subscribe(user, None, self._clock(), initial_data=initial, by_code=True)
        await self._proposals.propose(channel, change)
        if not self._hub.is_here(user, None):
            raise Refusal(f"User {user.name} doesn't exist")
        if arrives:
            self._events.add(events.Subscribed(channel.name, user.name, by="rest"))

    async def _unsubscribe(self, request: rest.Unsubscribe) -> answers.Done:
        name = self._checked(request.channel_name)
        channel = self._hub.channels.get(name)
        if channel is None:
            raise BadCall(f"Channel {name} doesn't exist")
        user = named_user(self._hub, request.user_name)
        if user.name in channel.subscribers:
            if request.send_hook:
                (await self._webhooks.send(webhooks.Unsubscribe(name, user.name))).check()
            with suppress(ChannelGone):
                change = Unsubscribe(user, self._clock(), request.reason)
                await self._proposals.propose(channel, change)
            self._events.add(events.Unsubscribed(channel.name, user.name, by="rest"))
        return answers.Done()

    async def _disconnect(self, request: rest.Disconnect) -> answers.Disconnected:
        one = request.user_name or request.conn_id or request.identity
        lists = (request.names, request.identities, request.addresses)
        many = any(each is not None for each in lists)
        if one and any(lists):
            raise BadCall(
                "names, identities and addresses cannot be combined with name, conn_id or identity"
            )
        if not (one or many):
            raise BadCall("Missing name, conn_id or identity")
        if not is_valid_code(request.code):
            raise BadCall("code must be a close code from 3000 to 4999")
        return answers.Disconnected(self._connections.disconnect(request))

    async def _recheck(self, request: rest.Recheck) -> answers.Rechecking:
        patterns = compiled(request.patterns, "patterns")
        users = None if request.users is None else set(request.users)
        return answers.Rechecking(**self._rechecks.begin(patterns, users))

    async def _revoke(self, request: rest.Revoke) -> answers.Revoked:
        revoked = self._revoking.perform(request.revocations)
        if self._cluster is not None:
            self._cluster.wake_others()  # which pull what the site has stored
        return revoked

    # ---- channels --------------------------------------------------------

    async def _create_channel(self, request: rest.CreateChannel) -> answers.Done:
        name = self._checked(request.channel_name)
        if name in self._hub.channels:
            raise Refusal(f"Channel {name} exists already")
        options = {**(request.options or {}), **request.given}
        if request.send_hook:
            reply = await self._webhooks.send(webhooks.CreateChannel(name))
            options = {**reply.check().options, **options}
        if options.get("durable"):
            CHANNEL_DEFAULTS.changed(options)
            self._tasks.start(self._create_later(name, options))
            return answers.Done()
        await self._lifecycle.create(name, options)
        return answers.Done()

    async def _create_later(self, name: str, given: Mapping[str, object]) -> None:
        try:
            await self._lifecycle.create(name, given)
        except Refusal as refusal:
            logger.warning("%r was not created: %s", name, refusal)

    async def _destroy_channel(self, request: rest.DestroyChannel) -> answers.Done:
        channel = self._channel(request.channel_name)
        if request.send_hook:
            reply = await self._webhooks.send(webhooks.DestroyChannel(channel.name))
            reply.check()
        await self._proposals.destroy(channel)
        return answers.Done()

    async def _get_channel_info(self, request: rest.GetChannelInfo) -> dict[str, object]:
        return snapshots.info(self._channel(request.channel_name), self._clock())

    async def _set_channel_options(self, request: rest.SetChannelOptions) -> answers.Done:
        channel = self._channel(request.channel_name)
        if "durable" in request.given:
            raise Refusal("durable cannot be changed: the site decides it", "forbidden")
        if channel.options.durable and "history" in request.given:
            raise Stored(channel.name)
        await self._proposals.propose(channel, SetOptions(request.given, self._clock()))
        return answers.Done()

    async def _state_set_key(self, request: rest.StateSetKey) -> answers.Done:
        channel = self._channel(request.channel_name)
        for field in ("key", "val"):
            if not getattr(request, field):
                raise missing(field)
        try:
            value = loads(request.val)
        except ValueError:
            raise not_json("val") from None
        await self._proposals.propose(channel, SetState({request.key: value}))
        return answers.Done()

    async def _state_delete_key(self, request: rest.StateDeleteKey) -> answers.Done:
        channel = self._channel(request.channel_name)
        if not request.key:
            raise missing("key")
        await self._proposals.propose(channel, SetState({}, (request.key,)))
        return answers.Done()

    # ---- users and configuration -----------------------------------------

    async def _set_user_options(self, request: rest.SetUserOptions) -> answers.Done:
        user = named_user(self._hub, request.user_name)
        present = {name: getattr(user.options, name) for name in user.options.__slots__}
        self._hub.set_user_options(user, user_options({**present, **request.given}))
        return answers.Done()

    async def _set_config(self, request: rest.SetConfig) -> answers.Done:
        if not self._config.allow_set_config:
            raise Refusal("set_config is off: see HOOKBOX_ALLOW_SET_CONFIG", "forbidden")
        try:
            self._webhooks.config = changed_config(self._webhooks.config, dict(request.given))
        except ConfigError as error:
            raise BadCall(f"set_config: {error}") from None
        rest_secret = request.given.get("rest_secret")
        if isinstance(rest_secret, str) and rest_secret:
            self.secrets = (rest_secret,)
        return answers.Done()

    # ---- parts -----------------------------------------------------------

    def _checked(self, name: str) -> str:
        return check_name("channel_name", name, self._config.max_name_length)

    def _named(self, form: Form) -> None:
        """Check that the channel exists, if one is named: 0.3.3 does so before anything else."""
        if form.get("channel_name"):
            self._channel(form["channel_name"])

    def _channel(self, name: str) -> Channel:
        channel = self._hub.channels.get(self._checked(name))
        if channel is None:
            raise NoChannel(name)
        return channel
