"""Channels that several nodes hold: build them from a snapshot, and follow other nodes' changes.

Every node has all subscribers of the channels that it reads, but only its own connections. Which
other nodes have connections of a subscriber is in `Subscription.elsewhere`.
"""

from __future__ import annotations

from dataclasses import replace

from ...wire.fields import ABSENT
from ...wire.options import ChannelOptions
from ...wire.values import JSON, JSONObject
from . import snapshots
from .announcing import announce_numbered
from .changes import Member, Snapshot, Subscribe
from .effects import Effect, Emptied, PollingChanged, PresenceDue, Send
from .hub import Hub
from .model import Channel, Subscription
from .stream import Position, Stream
from .values import changed, timestamp


def options_of(options: ChannelOptions) -> JSONObject:
    """Return options as in a create_channel reply, without `history` and `state`."""
    given = {name: getattr(options, name) for name in ChannelOptions.__slots__}
    given["polling"] = options.polling.info() if options.polling.mode else {}
    return given


def build(
    hub: Hub, name: str, snapshot: Snapshot, node: str, now: float
) -> tuple[Channel, list[Effect]]:
    """Create a channel as other nodes have it."""
    given = {**snapshot.options, "state": dict(snapshot.state)}
    channel, effects = hub.create_channel(name, given, now, snapshot.stream)
    _set_history(channel, snapshot)
    for member in snapshot.members:
        _enter(hub, channel, member, node)
    channel.version = snapshot.version
    channel.created = snapshot.at
    return channel, [each for each in effects if isinstance(each, PollingChanged)]


def _enter(hub: Hub, channel: Channel, member: Member, node: str) -> Subscription:
    user = hub.known_user(member.name)
    subscription = channel.subscribers[member.name] = Subscription(
        user, member.since, member.by_code
    )
    subscription.shared = member.shared
    subscription.elsewhere = frozenset(member.nodes) - {node}
    user.subscriptions[channel.name] = channel
    hub.subscriptions += 1
    channel.empty_since = None
    hub.empty.pop(channel, None)
    return subscription


def _set_history(channel: Channel, snapshot: Snapshot) -> None:
    channel.forget()
    for at, kind, data in snapshot.history:
        channel.remember(at, kind, channel.shown(data) if kind == "PUBLISH" else data)


def forget(hub: Hub, channel: Channel) -> list[Effect]:
    """Drop a channel that nobody here reads; for the other nodes it stays as it is."""
    for subscription in list(channel.subscribers.values()):
        user = subscription.user
        user.subscriptions.pop(channel.name, None)
        hub.subscriptions -= 1
        if not user.connections and not user.subscriptions:
            hub.absent.pop(user.name, None)
    channel.subscribers.clear()
    effects = hub.destroy_channel(channel, 0.0)
    return [each for each in effects if isinstance(each, PollingChanged)]


# ---- connections of one user on several nodes --------------------------------


def displaced(channel: Channel, name: str) -> list[JSON] | None:
    """Return the history entries that the arrival of a user displaces, or None."""
    if name in channel.subscribers:
        return None
    options = channel.options
    remembers = options.presenceful and not options.anonymous and not options.history_publish_only
    if not remembers or len(channel.history) < options.history_size or not channel.history:
        return []
    return [[channel.history[0].kind, channel.history[0].data]]


def as_on_arrival(channel: Channel, change: Subscribe, effects: list[Effect]) -> list[Effect]:
    """Show connections that follow their user the history that those of the first node saw.

    There, the user arrives after that; here, the arrival is in the history already.
    """
    if change.displaced is None:
        return effects
    since = channel.subscribers[change.user.name].since
    arrival = ["SUBSCRIBE", {"user": change.user.name, "datetime": timestamp(since)}]
    found: list[Effect] = []
    for effect in effects:
        if not isinstance(effect, Send) or arrival not in effect.args.get("history", ()):
            found.append(effect)
            continue
        history = [*change.displaced, *(e for e in effect.args["history"] if e != arrival)]
        if history or effect.name == "SUBSCRIBE" or change.initial_data is not ABSENT:
            found.append(replace(effect, args={**effect.args, "history": history}))
    return found


# ---- what other nodes do -----------------------------------------------------


def joined(
    hub: Hub, channel: Channel, name: str, node: str, at: float, shared: bool, by_code: bool
) -> list[Effect]:
    """Record that another node has entered a user."""
    subscription = channel.subscribers.get(name)
    if subscription is not None:
        subscription.elsewhere |= {node}
        subscription.shared |= shared
        subscription.by_code |= by_code
        return []
    effects: list[Effect] = []
    if channel.options.presenceful and channel.audience:
        args = {"channel_name": channel.name, "user": name, "datetime": timestamp(at)}
        effects.append(Send(tuple(channel.audience), "SUBSCRIBE", args))
    _enter(hub, channel, Member(name, at, shared, by_code, (node,)), "")
    hub.remember_presence(channel, "SUBSCRIBE", name, at)
    return effects


def left(
    hub: Hub, channel: Channel, name: str, node: str | None, at: float, alone: bool
) -> list[Effect]:
    """Record that another node has removed a user.

    Args:
        hub: The core.
        channel: The channel.
        name: The user.
        node: The node, or None if some of its connections are still in the channel.
        at: Seconds since the epoch.
        alone: Whether the subscription no longer covers all connections of the user.

    """
    subscription = channel.subscribers.get(name)
    if subscription is None:
        return []
    if node is not None:
        subscription.elsewhere -= {node}
    if hub.has_members(subscription.user, channel):
        if alone:
            subscription.shared = False
        return []
    return hub.unsubscribe(subscription.user, channel, at)


# ---- reloading ---------------------------------------------------------------


def reconcile(
    hub: Hub, channel: Channel, snapshot: Snapshot, node: str, now: float, lenient: bool = False
) -> list[Effect]:
    """Bring a channel to the level of a snapshot; send what its readers lack.

    Users who are connected here stay: the caller repairs what other nodes have of this one.

    Args:
        hub: The core.
        channel: The channel.
        snapshot: All of it.
        node: This node.
        now: Seconds since the epoch.
        lenient: Whether to keep members that other nodes may be about to enter again.

    """
    effects = _reconcile_options(hub, channel, snapshot, now)
    effects += _reconcile_members(hub, channel, snapshot, node, now, lenient)
    state = snapshot.state
    gone = [key for key in channel.state if key not in state]
    effects += hub.states.change(channel, changed(channel.state, state), gone)
    effects += _reconcile_stream(channel, snapshot, now)
    _set_history(channel, snapshot)
    channel.version = snapshot.version
    return [each for each in effects if not isinstance(each, Emptied | PresenceDue)]


def _reconcile_options(hub: Hub, channel: Channel, snapshot: Snapshot, now: float) -> list[Effect]:
    present = options_of(channel.options)
    given = {name: value for name, value in snapshot.options.items() if present.get(name) != value}
    if not given:
        return []
    stream = snapshot.stream if channel.stream is None else None
    return hub.set_options(channel, given, now, stream)


def _reconcile_members(
    hub: Hub, channel: Channel, snapshot: Snapshot, node: str, now: float, lenient: bool
) -> list[Effect]:
    effects: list[Effect] = []
    there = {member.name: member for member in snapshot.members}
    for name, subscription in list(channel.subscribers.items()):
        known = there.get(name)
        others = frozenset(known.nodes if known else ()) - {node}
        subscription.elsewhere = subscription.elsewhere | others if lenient else others
        if known is not None:
            subscription.shared |= known.shared
            subscription.by_code |= known.by_code
        if not hub.has_members(subscription.user, channel):
            effects += hub.unsubscribe(subscription.user, channel, now)
    for member in snapshot.members:
        if member.name not in channel.subscribers:
            for other in sorted(frozenset(member.nodes) - {node}):
                effects += joined(
                    hub, channel, member.name, other, member.since, member.shared, member.by_code
                )
    present = channel.subscribers
    ordered = {name: present[name] for name in there if name in present}
    channel.subscribers = ordered | {n: s for n, s in present.items() if n not in ordered}
    return effects


def _reconcile_stream(channel: Channel, snapshot: Snapshot, now: float) -> list[Effect]:
    stream, known = snapshot.stream, channel.stream
    if channel.options.durable or stream is None:
        return []
    if known is not None and known.epoch == stream.epoch:
        if known.offset == stream.offset:
            return []
        missed = [each for each in stream.publications if each.offset > known.offset]
        if missed and missed[0].offset == known.offset + 1:
            effects: list[Effect] = []
            for publication in missed:
                effects += announce_numbered(channel, publication)
            return effects
    # Clients learn that something is missing from a snapshot with their position.
    seen = known.position if known is not None else Position("-", 0)
    channel.stream = Stream(stream)
    _set_history(channel, snapshot)
    gap: list[Effect] = []
    for name, subscription in channel.subscribers.items():
        readers = tuple(c for c in subscription.user.connections if c in channel.audience)
        if readers:
            args = snapshots.snapshot(channel, name, now, seen)
            gap.append(Send(readers, "SUBSCRIBE", args))
    return gap
