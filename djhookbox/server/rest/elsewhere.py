"""REST calls on any node: open the channel that they concern, or ask the nodes that know.

A single server does not use this module.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypedDict

from ...wire import answers, records, rest
from ...wire.listing import MAX_LISTED
from ...wire.rest import SECRET_FIELDS
from ...wire.values import JSONObject
from ..channels.outcomes import ChannelGone, EngineFailed
from ..channels.proposals import Proposals
from ..cluster import Cluster
from ..core.hub import Hub
from ..engine.base import EngineError
from ..refusals import Refusal
from .failures import FAILURES, failure
from .forms import BadCall, Form

logger = logging.getLogger("djhookbox.server.rest")

Call = Callable[[Form], Awaitable[dict[str, object]]]

#: Calls that concern one channel, which another node may have.
ABOUT_A_CHANNEL = (
    rest.Publish.name, rest.Cursor.name, rest.CreateChannel.name, rest.DestroyChannel.name,
    rest.GetChannelInfo.name, rest.SetChannelOptions.name, rest.StateSetKey.name,
    rest.StateDeleteKey.name, rest.Tail.name,
)  # fmt: skip
#: Seconds to wait for the lists of other nodes.
LIST_SECONDS = 2.0


class _RestCall(TypedDict):
    """A REST call, as a node makes it on another one."""

    call: str
    form: Form


class Elsewhere:
    """Wraps the calls of a node for those who may ask any node.

    Args:
        calls: The calls by name, which are replaced.
        cluster: This node among others.
        proposals: Opens channels of other nodes.
        hub: The core.

    """

    def __init__(
        self, calls: dict[str, Call], cluster: Cluster, proposals: Proposals, hub: Hub
    ) -> None:
        self._local = dict(calls)
        self._cluster = cluster
        self._proposals = proposals
        self._hub = hub
        for name in ABOUT_A_CHANNEL:
            calls[name] = self._about_channel(calls[name])
        for name in (rest.Subscribe.name, rest.Unsubscribe.name):
            calls[name] = self._about_user(name, calls[name])
        self._local |= {name: calls[name] for name in ABOUT_A_CHANNEL}
        calls[rest.GetChannelInfo.name] = self._get_channel_info
        calls[rest.PublishMulti.name] = self._publish_multi
        calls[rest.SetUserOptions.name] = self._set_user_options
        calls[rest.SetConfig.name] = self._set_config
        calls[rest.GetUserInfo.name] = self._get_user_info
        calls[rest.Disconnect.name] = self._disconnect
        calls[rest.Recheck.name] = self._recheck
        calls[rest.ListUsers.name] = self._list_users
        calls[rest.ListChannels.name] = self._list_channels
        calls[rest.ListConnections.name] = self._list_connections
        cluster.answer("rest", self._answer)
        cluster.answer("audience", self._count_audience)

    # ---- asking ----------------------------------------------------------

    async def _answer(self, call: _RestCall) -> JSONObject:
        """Answer a call of another node."""
        try:
            return {"answer": await self._here(call["call"], call["form"])}
        except FAILURES as error:
            return {"failure": type(error).__name__, "msg": failure(error).msg,
                    "code": failure(error).code}  # fmt: skip

    async def _here(self, name: str, form: Form) -> dict[str, object]:
        if name in (rest.Subscribe.name, rest.Unsubscribe.name):
            return await self._converge(form, self._local[name])
        return await self._local[name](form)

    async def _ask(
        self, name: str, form: Form, nodes: Sequence[str] | None, seconds: float = 5.0
    ) -> tuple[list[JSONObject], list[str]]:
        """Return the answers of other nodes, and the nodes that did not answer.

        Raises:
            EngineFailed: If they could not be asked.
            Refusal: The first refusal; other failures accordingly.

        """
        call: _RestCall = {"call": name, "form": _without_secret(form)}
        try:
            asked = await self._cluster.shared.peers.ask("rest", call, nodes, seconds)
        except EngineError as error:
            logger.error("Other nodes could not be asked: %s", error)
            raise EngineFailed from None
        found = []
        for answer in asked.by_node.values():
            if "failure" in answer:
                raise _failure(answer)
            found.append(answer["answer"])
        return found, asked.missing

    async def _both(self, name: str, form: Form, nodes: Sequence[str] | None) -> list[JSONObject]:
        """Return the answers of this node and others; those that do not answer are missing."""
        mine, (others, missing) = await asyncio.gather(
            self._local[name](form), self._ask(name, form, nodes, LIST_SECONDS)
        )
        if missing:
            logger.warning("%s: no answer from %s", name, ", ".join(missing))
        return [mine, *others]

    # ---- channels --------------------------------------------------------

    def _about_channel(self, call: Call) -> Call:
        async def wrapped(form: Form) -> dict[str, object]:
            return await self._converge(form, call)

        return wrapped

    async def _converge(self, form: Form, call: Call) -> dict[str, object]:
        """Make a call about a channel; again if another node destroys the channel at that time."""
        name = form.get("channel_name", "")
        await self._attach(name)
        try:
            return await call(form)
        except ChannelGone:
            if form.get("send_hook"):  # the site may have acted
                raise
        await self._attach(name)
        return await call(form)

    async def _attach(self, name: str) -> None:
        if name and name not in self._hub.channels:
            await self._proposals.attach(name)

    async def _publish_multi(self, form: Form) -> dict[str, object]:
        names = [name for name in form.get("channel_names", "").split(",") if name]
        await asyncio.gather(*map(self._attach, names))
        return await self._local[rest.PublishMulti.name](form)

    async def _get_channel_info(self, form: Form) -> dict[str, object]:
        mine: JSONObject = await self._local[rest.GetChannelInfo.name](form)
        try:
            asked = await self._cluster.shared.peers.ask(
                "audience", mine["name"], seconds=LIST_SECONDS
            )
        except EngineError as error:
            logger.error("Other nodes could not be asked: %s", error)
            raise EngineFailed from None
        if asked.missing:
            logger.warning("%s: no answer from %s", mine["name"], ", ".join(asked.missing))
        return {**mine, "connections": mine["connections"] + sum(asked.by_node.values())}

    async def _count_audience(self, name: str) -> int:
        channel = self._hub.channels.get(name)
        return 0 if channel is None else len(channel.audience)

    # ---- users -----------------------------------------------------------

    def _about_user(self, name: str, call: Call) -> Call:
        async def wrapped(form: Form) -> dict[str, object]:
            user = form.get("name", "")
            if not user or user in self._hub.users:
                return await self._here(name, form)
            nodes = await self._cluster.nodes_of(user)
            if not nodes:
                return await self._here(name, form)  # which says what is wrong
            # The others follow: a subscription by code is for all connections of the user.
            found, missing = await self._ask(name, form, nodes[:1])
            if missing:
                raise EngineFailed
            return found[0]

        return wrapped

    async def _set_user_options(self, form: Form) -> dict[str, object]:
        name = form.get("user_name", "")
        nodes = await self._cluster.nodes_of(name) if name else []
        if nodes:
            await self._ask(rest.SetUserOptions.name, form, nodes)
        if nodes and name not in self._hub.users:
            return records.write(answers.Done())
        return await self._local[rest.SetUserOptions.name](form)

    async def _get_user_info(self, form: Form) -> dict[str, object]:
        name = form.get("user_name", "")
        nodes = await self._cluster.nodes_of(name) if name else []
        if not nodes:
            return await self._local[rest.GetUserInfo.name](form)
        found, _ = await self._ask(rest.GetUserInfo.name, form, nodes)
        if name in self._hub.users:
            found.insert(0, await self._local[rest.GetUserInfo.name](form))
        if not found:
            raise EngineFailed
        channels = dict.fromkeys(channel for each in found for channel in each["channels"])
        return {
            **found[0],
            "connections": sum(each["connections"] for each in found),
            "channels": list(channels),
        }

    async def _disconnect(self, form: Form) -> dict[str, object]:
        mine: JSONObject = await self._local[rest.Disconnect.name](form)  # checks the form
        found, missing = await self._ask(rest.Disconnect.name, form, None, 0.5)
        total = mine["disconnected"] + sum(each["disconnected"] for each in found)
        return {**mine, "disconnected": total, **({"unanswered": missing} if missing else {})}

    async def _recheck(self, form: Form) -> dict[str, object]:
        found = await self._both(rest.Recheck.name, form, None)
        return {key: sum(each[key] for each in found) for key in found[0]}

    # ---- configuration ---------------------------------------------------

    async def _set_config(self, form: Form) -> dict[str, object]:
        mine = await self._local[rest.SetConfig.name](form)  # checks the form
        _, missing = await self._ask(rest.SetConfig.name, form, None)
        if missing:
            logger.error("%s: no answer from %s", rest.SetConfig.name, ", ".join(missing))
            raise EngineFailed
        return mine

    # ---- lists -----------------------------------------------------------

    async def _list_users(self, form: Form) -> dict[str, object]:
        if form.get("channel_name"):
            await self._attach(form["channel_name"])
            return await self._local[rest.ListUsers.name](form)
        found = await self._both(rest.ListUsers.name, form, None)
        names = dict.fromkeys(name for each in found for name in each["names"])
        return {**found[0], "names": list(names)}

    async def _list_channels(self, form: Form) -> dict[str, object]:
        found = await self._both(rest.ListChannels.name, form, None)
        by_name: dict[str, JSONObject] = {}
        for channel in (channel for each in found for channel in each["channels"]):
            known = by_name.setdefault(channel["name"], dict(channel))
            if known != channel:
                known["connections"] += channel["connections"]
        listed = sorted(by_name.values(), key=lambda c: (-c["subscribers"], c["name"]))
        listed = listed[: min(MAX_LISTED, int(form.get("limit") or MAX_LISTED))]
        total = max(len(by_name), *(each["total"] for each in found))
        return {**found[0], "total": total, "channels": listed}

    async def _list_connections(self, form: Form) -> dict[str, object]:
        found = await self._both(rest.ListConnections.name, form, None)
        listed = [connection for each in found for connection in each["connections"]]
        listed.sort(key=lambda connection: -connection["since"])
        limit = min(MAX_LISTED, int(form.get("limit") or MAX_LISTED))
        total = sum(each["total"] for each in found)
        return {**found[0], "total": total, "connections": listed[:limit]}


def _without_secret(form: Form) -> dict[str, str]:
    return {name: value for name, value in form.items() if name not in SECRET_FIELDS}


def _failure(answer: JSONObject) -> Exception:
    kinds: dict[str, type[Exception]] = {
        "BadCall": BadCall, "NameProblem": BadCall, "OptionError": BadCall
    }  # fmt: skip
    kind = kinds.get(answer["failure"])
    if kind is not None:
        return kind(answer["msg"])
    return Refusal(answer["msg"], answer["code"])
