"""How many publications and revocations wait, and for how long; how many have failed."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from django.db.models import Count, Min, Q
from django.utils import timezone

from ..revocations import storing
from ..revocations.models import Revocation
from . import heads
from .models import Outbox

#: Seconds after which rows that wait are a problem.
LATE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """The state of the outbox.

    Attributes:
        count: The number of publications that wait to be numbered.
        seconds: The age of the oldest of them.
        failed: The number of publications that could not be published.
        revocations: The number of revocations that no process has pulled yet.
        revocation_seconds: The age of the oldest of them.

    """

    count: int
    seconds: float
    failed: int
    revocations: int = 0
    revocation_seconds: float = 0.0

    @property
    def is_late(self) -> bool:
        """Whether publications wait for so long that nobody seems to pull them."""
        return self.count > 0 and self.seconds > LATE_SECONDS

    @property
    def are_revocations_late(self) -> bool:
        """Whether revocations wait for so long that nobody seems to pull them."""
        return self.revocations > 0 and self.revocation_seconds > LATE_SECONDS


def look() -> Waiting:
    """Return the state of the outbox, with one query for each of the two kinds.

    Raises:
        DatabaseError: The database failed.

    """
    found = Outbox.objects.using(heads.database()).aggregate(
        count=Count("pk", filter=Q(failed=False)),
        oldest=Min("created", filter=Q(failed=False)),
        failed=Count("pk", filter=Q(failed=True)),
    )
    unnumbered = Revocation.objects.using(storing.database()).filter(number=None)
    revoked = unnumbered.aggregate(count=Count("pk"), oldest=Min("created"))
    return Waiting(
        found["count"],
        _age(found["oldest"]),
        found["failed"],
        revoked["count"],
        _age(revoked["oldest"]),
    )


def _age(moment: datetime.datetime | None) -> float:
    if moment is None:
        return 0.0
    return max(0.0, (timezone.now() - moment).total_seconds())
