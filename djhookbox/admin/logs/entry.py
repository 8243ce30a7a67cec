"""A row of an audit log, as the columns of its page see it."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .cells import Cells


class Entry(Protocol):
    """An entry of any log, with the cells that `LogAdmin.dress` has attached.

    The columns of a page read only the fields that the entries of its log have.
    """

    pk: int
    created: datetime.datetime
    user_name: str
    connection_id: str
    decided_by: str
    reason: str
    cells: Cells

    # The connection log.
    ip: str | None
    code: int | None
    duration: datetime.timedelta | None

    # The subscription log, too.
    event: str
    channel: str

    # The publish history.
    status: str
    source: str
    error: str
    size: int | None
    preview: str
    kept: str
    delivered: int | None
