"""Save rows that a database refuses, without the values that it cannot store.

MySQL and MariaDB have character sets with three bytes per character, while emoji need four, and
MariaDB does not accept JSON that is nested deeper than 31 levels.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from django.db import (
    Error,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    models,
)

from ..models import Publication

logger = logging.getLogger("djhookbox.webhook")

#: Not caused by the row: the database is busy, unreachable or not migrated yet.
UNAVAILABLE = (OperationalError, ProgrammingError, InterfaceError, InternalError)

#: Error codes of MySQL and MariaDB for values that do not fit. Some become OperationalErrors.
_MISFITS = frozenset({
    1264,  # out of range
    1265,  # truncated
    1292,  # truncated: wrong type
    1366,  # characters missing from the column's character set
    1406,  # too long
    3140,  # not JSON
    3157,  # JSON that is nested too deeply
    4025,  # a violated constraint, such as for JSON
})  # fmt: skip

_FOUR_BYTES = re.compile("[\U00010000-\U0010ffff]")


def is_at_fault(error: Exception) -> bool:
    """Return whether a row was refused because of its values, and would be refused again."""
    if isinstance(error, UNAVAILABLE):
        return bool(error.args) and error.args[0] in _MISFITS
    return isinstance(error, Error | ValueError)


def save_fitting(row: models.Model, save: Callable[[], object]) -> None:
    """Save a row; if the database refuses some of its values, save it without them.

    Args:
        row: The row.
        save: A function that saves it, in a savepoint if there is a transaction.

    Raises:
        DatabaseError: It cannot be saved at all.
        ValueError: It cannot be saved at all.

    """
    try:
        save()
        return
    except (Error, ValueError) as error:
        if not is_at_fault(error):
            raise
        refusal = error
    for simplify in (_replace_characters, _leave_out_payload):
        if not simplify(row):
            continue
        try:
            save()
        except (Error, ValueError) as error:
            if not is_at_fault(error):
                raise
            refusal = error
        else:
            what = row._meta.verbose_name
            logger.warning("A %s was written without the values that do not fit: %s", what, refusal)
            return
    raise refusal


def _replace_characters(row: models.Model) -> bool:
    changed = False
    for field in row._meta.concrete_fields:
        value: object = getattr(row, field.attname)
        if isinstance(field, models.CharField | models.TextField) and isinstance(value, str):
            fitting = _FOUR_BYTES.sub("\ufffd", value)
            changed = changed or fitting != value
            setattr(row, field.attname, fitting)
    return changed


def _leave_out_payload(row: models.Model) -> bool:
    if not isinstance(row, Publication) or row.payload is None:
        return False
    row.payload, row.kept = None, Publication.Kept.NOTHING
    return True
