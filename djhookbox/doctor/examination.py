"""Run the checks in order; those that depend on a failed one are left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from django.utils.translation import gettext as _

from ..exceptions import HookboxError
from . import fallbacks, inside, nodes, outside, site
from .base import Check, Finding, Level, Patient, error
from .cookies import Cookies
from .wires import NoAnswer

#: All checks, from the inside to the outside.
CHECKS: tuple[Check, ...] = (
    site.Versions(),
    site.Settings(),
    site.Database(),
    site.Batches(),
    inside.Process(),
    nodes.Engine(),
    inside.Webhook(),
    site.Limits(),
    outside.Dns(),
    outside.Tls(),
    outside.Upgrade(),
    outside.Origins(),
    Cookies(),
    fallbacks.Fallback(),
    fallbacks.HttpVersion(),
    outside.Timeouts(),
    outside.Internal(),
    outside.Clock(),
)

NAMES = tuple(check.name for check in CHECKS)


def examine(patient: Patient, only: Collection[str] = ()) -> Iterator[tuple[Check, list[Finding]]]:
    """Yield each check with what it has found.

    Args:
        patient: What is examined.
        only: The names of the checks to run; by default, all.

    """
    failed: set[str] = set()
    for check in CHECKS:
        if only and check.name not in only:
            continue
        if failed & set(check.needs):
            failed.add(check.name)
            continue
        try:
            found = list(check.run(patient))
        except (HookboxError, NoAnswer) as problem:
            found = [error(str(problem), _("Correct this first."))]
        if any(finding.level is Level.ERROR for finding in found):
            failed.add(check.name)
        yield check, found
