"""What each call of the REST API does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ...wire.closing import BY_SITE, Disconnect, is_valid_code
from ...wire.names import check_name
from ...wire.values import dumps
from ..channels.delivery import Delivery
from ..channels.lifecycle import Lifecycle
from ..channels.publications import Publications, Published
from ..clients.commands import Operations, other_recipient, parse_payload
from ..clients.connection import Connection
from ..clients.leaving import Departures
from ..clients.targets import Target
from ..config import ConfigError, ServerConfig, changed_config
from ..core.effects import Effect
from ..core.hub import MISSING, Hub
from ..core.model import Channel, User
from ..core.options import user_options
from ..metrics import Metrics
from ..site.events import Events
from ..site.rechecks import Rechecks
from ..site.webhooks import Refusal, Webhooks
from .forms import (
    BadCall,
    Form,
    json_fields,
    json_list,
    json_object,
    json_value,
    needed,
    regexes,
    whole,
)
from .reports import Reports, named_user


class NoChannel(LookupError):
    """The channel does not exist."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Channel {name} doesn't exist")


class Calls:
    """The calls by name."""

    def __init__(
        self,
        *,
        config: ServerConfig,
        hub: Hub,
        delivery: Delivery,
        lifecycle: Lifecycle,
        publications: Publications,
        operations: Operations,
        departures: Departures,
        webhooks: Webhooks,
        events: Events,
        rechecks: Rechecks,
        metrics: Metrics,
        reports: Reports,
    ) -> None:
        self.secrets = config.rest_secrets
        self._config = config
        self._hub = hub
        self._delivery = delivery
        self._lifecycle = lifecycle
        self._publications = publications
        self._operations = operations
        self._departures = departures
        self._webhooks = webhooks
        self._events = events
        self._rechecks = rechecks
        self._metrics = metrics
        names = (
            "publish", "publish_multi", "message", "subscribe", "unsubscribe", "disconnect",
            "create_channel", "destroy_channel", "get_channel_info", "set_channel_options",
            "state_set_key", "state_delete_key", "set_user_options", "set_config", "recheck",
            "cursor",
        )  # fmt: skip
        self.by_name: dict[str, Callable[[Form], Awaitable[dict[str, Any]]]] = {
            name: getattr(self, f"_{name}") for name in names
        } | reports.by_name

    # ---- publications ----------------------------------------------------

    async def _publish(self, form: Form) -> dict[str, Any]:
        name, text = self._channel_name(form), form.get("payload", "null")
        if name in self._hub.channels or "options" in form:
            return (await self._publish_to(name, parse_payload(text), form)).info()
        async with self._lifecycle.using(name):  # which 0.3.3 did before it read the payload
            return (await self._publish_to(name, parse_payload(text), form)).info()

    async def _publish_multi(self, form: Form) -> dict[str, Any]:
        names = [name for name in form.get("channel_names", "").split(",") if name]
        if not names:
            raise BadCall("Missing channel_names")
        payload = parse_payload(form.get("payload", "null"))
        delivered = 0
        for name in names:
            if name in self._hub.channels:  # unknown ones are skipped (0.3.4)
                delivered += (await self._publish_to(name, payload, form)).delivered
        return {"delivered": delivered}

    async def _publish_to(self, name: str, payload: Any, form: Form) -> Published:
        user = form.get("originator")
        options = json_object(form, "options")
        channel = self._hub.channels.get(name)
        publication: object = None
        if channel is None and options is not None:
            # The site has decided. Without subscribers only a history is worth a channel.
            if not options.get("history_size"):
                await self._publications.skip(name)
                return Published(0)
            channel = await self._lifecycle.create(name, options)
        if channel is None or form.get("send_hook") == "1":
            async with self._lifecycle.using(name) as channel:
                if form.get("send_hook") == "1":
                    hook = {
                        "channel_name": name,
                        "payload": dumps(payload),
                        "user": user or "",
                    }
                    reply = (await self._webhooks.call("publish", hook)).check()
                    payload = reply.get("override_payload", payload)
                    publication = reply.get("publication")
                published = await self._publications.publish(channel, payload, user)
        else:
            published = await self._publications.publish(channel, payload, user)
        self._metrics.messages_in += 1
        delivered = published.delivered
        if isinstance(publication, int):
            self._events.add("delivered", publication=publication, delivered=delivered)
        elif form.get("recorded") != "1":
            fields = {"payload": payload, "source": "rest", "delivered": delivered}
            self._events.add("publish", channel_name=name, user=user or "", **fields)
        return published

    async def _cursor(self, form: Form) -> dict[str, Any]:
        options = json_object(form, "options") or {}
        history = bool(options.get("history_size"))
        return {"cursor": await self._publications.cursor(self._channel_name(form), history)}

    async def _message(self, form: Form) -> dict[str, Any]:
        sender, recipient = needed(form, "sender_name"), needed(form, "recipient_name")
        payload = parse_payload(form.get("payload", "null"))
        if form.get("send_hook") == "1":
            hook = {
                "sender": sender,
                "recipient": recipient,
                "recipient_exists": str(recipient in self._hub.users),
                "payload": dumps(payload),
            }
            reply = (await self._webhooks.call("message", hook)).check()
            payload = reply.get("override_payload", payload)
            recipient = other_recipient(reply, recipient)
        if recipient not in self._hub.users:
            raise Refusal(f"User {recipient} doesn't exist")
        effects, delivered = self._hub.message(sender, recipient, payload, time.time(), False)
        self._perform(effects)
        return {"delivered": delivered}

    # ---- subscriptions and connections -----------------------------------

    async def _subscribe(self, form: Form) -> dict[str, Any]:
        name, user = self._channel_name(form), named_user(self._hub, needed(form, "name"))
        options = json_object(form, "options")
        if form.get("send_hook") != "1" and (name in self._hub.channels or options is not None):
            channel = await self._lifecycle.create(name, options or {})
            self._subscribe_by_code(user, channel)
            return {}
        if options is not None:
            await self._lifecycle.create(name, options)
        async with self._lifecycle.using(name) as channel:
            reply = await self._hook("subscribe", channel, user, form)
            self._subscribe_by_code(user, channel, reply.get("initial_data", MISSING))
        return {}

    async def _hook(self, hook: str, channel: Channel, user: User, form: Form) -> dict[str, Any]:
        """Make a webhook after all, if the call asks for it; return the options of the yes."""
        if form.get("send_hook") != "1":
            return {}
        fields = {"channel_name": channel.name, "user": user.name}
        return (await self._webhooks.call(hook, fields)).check()

    def _subscribe_by_code(self, user: User, channel: Channel, initial: Any = MISSING) -> None:
        if self._hub.users.get(user.name) is not user:
            raise Refusal(f"User {user.name} doesn't exist")
        if self._hub.channels.get(channel.name) is not channel:
            raise Refusal("The channel was destroyed meanwhile")
        arrives = user.name not in channel.subscribers
        self._delivery.flush()
        self._perform(
            self._hub.subscribe(
                user, channel, None, time.time(), initial_data=initial, by_code=True
            )
        )
        if arrives:
            self._report("subscribe", channel, user)

    async def _unsubscribe(self, form: Form) -> dict[str, Any]:
        name = self._channel_name(form)
        needed(form, "name")
        channel = self._hub.channels.get(name)
        if channel is None:
            raise BadCall(f"Channel {name} doesn't exist")
        user = named_user(self._hub, needed(form, "name"))
        if user.name in channel.subscribers:
            await self._hook("unsubscribe", channel, user, form)
            self._delivery.flush()
            reason = form.get("reason", "")
            self._perform(self._hub.unsubscribe(user, channel, time.time(), reason))
            self._report("unsubscribe", channel, user)
        return {}

    async def _disconnect(self, form: Form) -> dict[str, Any]:
        target = _target(form)
        code = whole(form, "code", BY_SITE.code)
        if not is_valid_code(code):
            raise BadCall("code must be a close code from 3000 to 4999")
        end = Disconnect(code, form.get("reason", BY_SITE.reason))
        chosen = self._chosen(target)
        for connection in chosen:
            connection.close(end)
        for sent_away in self._operations.connecting.values():
            sent_away.append((target, end))
        return {"disconnected": len(chosen)}

    def _chosen(self, target: Target) -> list[Connection]:
        """Return the connections that are meant, looked for where there are few."""
        found: list[Iterable[object]] = [
            self._operations.by_identity.get(identity, ())
            for identity in [*target.identities, target.named.get("identity", "")]
        ]
        users = map(self._hub.users.get, [*target.names, target.named.get("name", "")])
        found += [user.connections for user in users if user is not None]
        if target.named.keys() == {"conn_id"}:
            found.append(self._departures.connections)
        candidates = dict.fromkeys(c for group in found for c in group if isinstance(c, Connection))
        return [
            connection
            for connection in candidates
            if target.includes(
                name=connection.user.name if connection.user else "",
                identity=connection.identity,
                conn_id=connection.id,
            )
        ]

    async def _recheck(self, form: Form) -> dict[str, Any]:
        patterns, users = regexes(form, "patterns"), json_list(form, "users")
        if patterns is None:
            raise BadCall("Missing patterns")
        return self._rechecks.begin(patterns, None if users is None else set(users))

    # ---- channels --------------------------------------------------------

    async def _create_channel(self, form: Form) -> dict[str, Any]:
        name = self._channel_name(form)
        if name in self._hub.channels:
            raise Refusal(f"Channel {name} exists already")
        options = json_object(form, "options")
        known = ("secret", "security_token", "channel_name", "options", "send_hook")
        given = {**(options or {}), **json_fields(form, known)}
        if form.get("send_hook") == "1":
            reply = await self._webhooks.call("create_channel", {"channel_name": name})
            given = {**reply.check(), **given}
        await self._lifecycle.create(name, given)
        return {}

    async def _destroy_channel(self, form: Form) -> dict[str, Any]:
        channel = self._channel(form)
        if form.get("send_hook") == "1":
            reply = await self._webhooks.call("destroy_channel", {"channel_name": channel.name})
            reply.check()
        self._delivery.flush()
        self._perform(self._hub.destroy_channel(channel, time.time()))
        return {}

    async def _get_channel_info(self, form: Form) -> dict[str, Any]:
        return self._hub.info(self._channel(form), time.time())

    async def _set_channel_options(self, form: Form) -> dict[str, Any]:
        channel = self._channel(form)
        given = json_fields(form, ("secret", "security_token", "channel_name"))
        self._delivery.flush()
        self._perform(self._hub.set_options(channel, given, time.time()))
        return {}

    async def _state_set_key(self, form: Form) -> dict[str, Any]:
        channel = self._channel(form)
        key = needed(form, "key")
        value = json_value(needed(form, "val"), "val")
        self._perform(self._hub.set_state(channel, {key: value}))
        return {}

    async def _state_delete_key(self, form: Form) -> dict[str, Any]:
        channel = self._channel(form)
        self._perform(self._hub.set_state(channel, {}, [needed(form, "key")]))
        return {}

    # ---- users and configuration -----------------------------------------

    async def _set_user_options(self, form: Form) -> dict[str, Any]:
        user = named_user(self._hub, needed(form, "user_name"))
        present = {name: getattr(user.options, name) for name in user.options.__slots__}
        given = json_fields(form, ("secret", "security_token", "user_name"))
        for name in given:
            if name not in present:
                raise BadCall(f"Invalid keyword argument {name}")
        user.options = user_options({**present, **given})
        return {}

    async def _set_config(self, form: Form) -> dict[str, Any]:
        if not self._config.allow_set_config:
            raise Refusal("set_config is off: see HOOKBOX_ALLOW_SET_CONFIG", "forbidden")
        known = ("secret", "security_token")
        values = {}
        for name, text in form.items():
            if name not in known:
                values[name] = json_value(text, name, "form key")
        try:
            self._webhooks.config = changed_config(self._webhooks.config, values)
        except ConfigError as error:
            raise BadCall(f"set_config: {error}") from None
        rest_secret = values.get("rest_secret")
        if isinstance(rest_secret, str) and rest_secret:
            self.secrets = (rest_secret,)
        return {}

    # ---- parts -----------------------------------------------------------

    def _perform(self, effects: list[Effect]) -> int:
        return self._delivery.perform(effects)

    def _channel_name(self, form: Form) -> str:
        name = needed(form, "channel_name")
        return check_name("channel_name", name, self._config.max_name_length)

    def _channel(self, form: Form) -> Channel:
        name = self._channel_name(form)
        channel = self._hub.channels.get(name)
        if channel is None:
            raise NoChannel(name)
        return channel

    def _report(self, event: str, channel: Channel, user: User) -> None:
        fields = {"conn_id": "", "by": "rest", "reason": ""}
        self._events.add(event, channel_name=channel.name, user=user.name, **fields)


def _target(form: Form) -> Target:
    """Return whom a call to disconnect means."""
    named = {key: form[key] for key in ("name", "conn_id", "identity") if key in form}
    names, identities = json_list(form, "names"), json_list(form, "identities")
    if named and (names or identities):
        raise BadCall("names and identities cannot be combined with name, conn_id or identity")
    if not named and names is None and identities is None:
        raise BadCall("Missing name, conn_id or identity")
    return Target(named, frozenset(names or ()), frozenset(identities or ()))
