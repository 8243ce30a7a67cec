"""Log aiohttp's HTTP messages at appropriate levels."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class HttpLog(_Adapter):
    """The logger that is passed to aiohttp.

    aiohttp logs everything as an error with a traceback, even input that is not HTTP, so that
    any client could fill the log.
    """

    def exception(self, msg: object, *args: object, exc_info: Any = True, **kwargs: Any) -> None:
        """Log an exception; log a single DEBUG line if the client is at fault."""
        if isinstance(exc_info, HttpProcessingError):
            self.debug(f"{msg}: %s", *args, type(exc_info).__name__)
        else:
            super().exception(msg, *args, exc_info=exc_info, **kwargs)
