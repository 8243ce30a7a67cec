"""Template tags of our admin pages."""

from __future__ import annotations

from collections.abc import Sequence

from django import template
from django.utils import formats
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

register = template.Library()

#: In the units of the drawing; a style sheet sets its size.
WIDTH, HEIGHT = 120, 24
#: Points in ten minutes, one every ten seconds. A newer process has fewer, drawn at the end.
POINTS = 60


@register.simple_tag
def sparkline(series: Sequence[float], name: str) -> SafeString:
    """Draw the values of a figure in the last ten minutes.

    The label describes them in words. `static/djhookbox/admin/report.js` draws the same.

    Args:
        series: The values, oldest first.
        name: The name of the figure.

    """
    pattern = _(
        "%(name)s in the last ten minutes: minimum %(least)s, maximum %(most)s, now %(now)s"
    )
    placeholders = {"least": "{least}", "most": "{most}", "now": "{now}"}
    words = {"least": "-", "most": "-", "now": "-"}
    if series:
        ends = {"least": min(series), "most": max(series), "now": series[-1]}
        words = {key: formats.number_format(round(value, 1), 1) for key, value in ends.items()}
    return format_html(
        '<svg class="hookbox-spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-label="{}" data-label="{}"><polyline fill="none" stroke="currentColor" '
        'vector-effect="non-scaling-stroke" points="{}"/></svg>',
        WIDTH,
        HEIGHT,
        pattern % {"name": name, **words},
        pattern % {"name": name, **placeholders},
        points(series),
    )


def points(series: Sequence[float]) -> str:
    """Return the points of the line: the latest on the right, the maximum at the top."""
    most = max(series, default=0) or 1
    step = WIDTH / (POINTS - 1)
    first = WIDTH - step * (len(series) - 1)
    return " ".join(
        f"{first + step * index:.1f},{HEIGHT - 1 - (HEIGHT - 2) * value / most:.1f}"
        for index, value in enumerate(series)
    )
