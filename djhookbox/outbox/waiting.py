"""How many rows wait in the outbox, and for how long; how many have failed."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Min, Q
from django.utils import timezone

from . import heads
from .models import Outbox

#: Seconds after which rows that wait are a problem.
LATE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """The state of the outbox.

    Attributes:
        count: The number of rows that wait to be numbered.
        seconds: The age of the oldest of them.
        failed: The number of rows that could not be published.

    """

    count: int
    seconds: float
    failed: int

    @property
    def is_late(self) -> bool:
        """Whether rows wait for so long that nobody seems to pull them."""
        return self.count > 0 and self.seconds > LATE_SECONDS


def look() -> Waiting:
    """Return the state of the outbox, with one query.

    Raises:
        DatabaseError: The database failed.

    """
    found = Outbox.objects.using(heads.database()).aggregate(
        count=Count("pk", filter=Q(failed=False)),
        oldest=Min("created", filter=Q(failed=False)),
        failed=Count("pk", filter=Q(failed=True)),
    )
    oldest = found["oldest"]
    seconds = 0.0 if oldest is None else (timezone.now() - oldest).total_seconds()
    return Waiting(found["count"], max(0.0, seconds), found["failed"])
