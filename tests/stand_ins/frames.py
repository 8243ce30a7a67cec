"""The frames of a page, as text: one JSON array a line."""

from __future__ import annotations

from typing import Any

from djhookbox.wire import values

#: A frame's name and arguments.
Frame = tuple[str, dict[str, Any]]


def frame(number: int, name: str, args: dict[str, Any]) -> str:
    """Return a frame as the browser's client writes it."""
    return values.dumps([number, name, args]) + "\r\n"


def read_frame(line: str) -> Any:
    """Return number, name and arguments of a line, which must be JSON that a browser can read."""
    return values.loads(line, max_depth=values.MAX_DOCUMENT_DEPTH)


class Frames:
    """Puts the texts of messages together, and cuts them into frames."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, text: str) -> list[Frame]:
        """Return the frames that a text completes."""
        *lines, self._text = (self._text + text).split("\r\n")
        return [(name, args) for _number, name, args in map(read_frame, lines)]
