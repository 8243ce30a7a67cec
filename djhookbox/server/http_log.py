"""What aiohttp has to say about HTTP, in the house's tone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class HttpLog(_Adapter):
    """The logger that aiohttp is given.

    It calls everything an error, with a traceback: also that somebody has sent what is no HTTP,
    by which anybody could fill the log.
    """

    def exception(self, msg: object, *args: object, exc_info: Any = True, **kwargs: Any) -> None:
        """Log an exception; one line, for who wants to see it, if a client is to blame."""
        if isinstance(exc_info, HttpProcessingError):
            self.debug(f"{msg}: %s", *args, type(exc_info).__name__)
        else:
            super().exception(msg, *args, exc_info=exc_info, **kwargs)
