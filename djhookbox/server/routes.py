"""How the processes of a site reach each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """How other nodes reach a node; without values, they cannot.

    Attributes:
        url: Its internal URL, for nodes on any machine.
        socket: The path of its Unix socket, for nodes on the same machine.
        machine: Identifies the machine of the socket.

    """

    url: str = ""
    socket: str = ""
    machine: str = ""
