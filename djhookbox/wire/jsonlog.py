"""Log lines as JSON objects, for programs that collect them."""

from __future__ import annotations

import datetime
import logging

from .values import dumps

#: Attributes that a line has if the logging call passes them as `extra`.
FACTS = ("connection", "user", "channel", "operation", "allowed", "decided_by", "reason",
         "code", "duration_ms", "transport", "webhook", "refusal")  # fmt: skip


class JSONFormatter(logging.Formatter):
    """Write a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in FACTS if hasattr(record, name)}
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        return dumps(line)
