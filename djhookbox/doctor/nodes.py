"""Checks of the engine and of the nodes that share it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from .. import client
from ..conf import settings
from ..exceptions import HookboxError
from ..process import control
from ..wire.answers import NodeInfo, ServerInfo
from ..wire.engines import MEMORY
from .base import Check, Finding, Patient, error, ok, warning

#: Seconds by which an event loop may be late; more means that a core is overloaded.
LATE = 0.5


class Engine(Check):
    """Names the engine and looks at the nodes that share it."""

    name, title, needs = "engine", gettext_noop("Engine"), ("process",)

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield the engine, what is wrong with it, and each node that is in trouble."""
        status = control.status()
        engine, info = status.engine, status.info
        down = next((each for each in info.problems if each.name == "engine_down"), None)
        if down is not None:
            yield error(
                _("The process has not reached Redis for %(seconds)d s.")
                % {"seconds": time.time() - down.since if down.since else down.value},
                _(
                    "Check whether Redis is running and whether this address is right: "
                    "HOOKBOX_ENGINE. The log of the process says why each attempt failed."
                ),
            )
        elif engine == MEMORY:
            yield ok(
                _("memory: one process holds all channels; a restart empties their histories.")
            )
        elif info.nodes:
            yield ok(_reporting(engine, info))
        else:
            yield ok(engine or "?")
        if engine and (engine == MEMORY) != (settings.engine == MEMORY):
            yield warning(
                _("HOOKBOX_ENGINE is %(setting)s, but the process uses %(engine)s.")
                % {
                    "setting": MEMORY if settings.engine == MEMORY else _("an address of Redis"),
                    "engine": engine,
                },
                _("Restart the process with the settings of this site."),
            )
        for node in info.nodes:
            yield from _node(node)
        yield from _urls()


def _reporting(engine: str, info: ServerInfo) -> str:
    """Return how many nodes there are, and what they carry together."""
    alive = [node for node in info.nodes if node.alive]
    connections = sum(node.connections or 0 for node in alive)
    return ngettext(
        "%(engine)s: %(count)d node with %(connections)d connections",
        "%(engine)s: %(count)d nodes with %(connections)d connections",
        len(alive),
    ) % {"engine": engine, "count": len(alive), "connections": connections}


def _node(node: NodeInfo) -> Iterator[Finding]:
    """Yield what is wrong with a node."""
    name = node.address or node.id
    if not node.alive:
        yield warning(
            _("The node %(name)s no longer reports.") % {"name": name},
            _(
                "If it was stopped on purpose, it disappears from this list by itself. Otherwise "
                "read its log, and check whether its machine reaches Redis."
            ),
        )
    elif node.lag is not None and node.lag > LATE:
        yield warning(
            _("The event loop of the node %(name)s is %(ms)d ms late.")
            % {"name": name, "ms": 1000 * node.lag},
            _("Its core is overloaded. Add workers or machines (HOOKBOX_WORKERS)."),
        )


def _urls() -> Iterator[Finding]:
    """Yield each URL of HOOKBOX_REST_URL that does not answer, if there are several."""
    urls = settings.rest_urls
    for url in urls if len(urls) > 1 else ():
        try:
            client.get_server_info(url)
        except HookboxError as problem:
            yield warning(
                str(problem),
                _(
                    "Django uses the other URLs of HOOKBOX_REST_URL. Start the process there, or "
                    "remove the URL."
                ),
            )
