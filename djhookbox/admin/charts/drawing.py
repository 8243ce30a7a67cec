"""Draw a chart as SVG. Sizes are in per cent and the lines keep their width, so that it fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ...measurements.reading import History
from .axes import ceiling, ticks

#: In pixels: the plot, and the texts above and below it.
HEIGHT, ABOVE, BELOW = 120, 18, 20

#: The plot's height in units of its own.
UNITS = 1000

#: More lines could not be distinguished.
MOST_LINES = 5


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart.

    Attributes:
        name: What it shows.
        values: Its points; None where nothing was measured.

    """

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Legend:
    """What the legend says about a line: its latest and its highest value."""

    number: int
    name: str
    last: str
    most: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table behind a chart: a time, and the name and value of each line."""

    time: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        key: Its name in URLs.
        title: Its heading, with the unit.
        lines: Its lines.
        write: Writes a value.

    """

    key: str
    title: str
    history: History
    lines: tuple[Line, ...]
    write: Callable[[float], str]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return all(value is None for line in self.lines for value in line.values)

    @property
    def most(self) -> float:
        """The highest value."""
        return max((v for line in self.lines for v in line.values if v is not None), default=0.0)

    @property
    def legend(self) -> list[Legend]:
        """The lines in words."""
        found = []
        for number, line in enumerate(self.lines, 1):
            known = [value for value in line.values if value is not None]
            last = self.write(known[-1]) if known else "-"
            most = self.write(max(known)) if known else "-"
            found.append(Legend(number, line.name, last, most))
        return found

    @property
    def label(self) -> str:
        """What the drawing shows, in words."""
        pattern = _("%(name)s: now %(last)s, at most %(most)s")
        texts = (
            pattern % {"name": one.name, "last": one.last, "most": one.most} for one in self.legend
        )
        return f"{self.title}. {'; '.join(texts)}."

    def drawing(self) -> SafeString:
        """Return the SVG."""
        top = ceiling(self.most)
        bottom = ABOVE + HEIGHT
        marks = list(ticks(self.history))
        count = len(self.history.points)
        return format_html(
            '<svg class="hookbox-plot" role="img" aria-label="{}" width="100%" height="{}">'
            '{}{}<svg x="0" y="{}" width="100%" height="{}" viewBox="0 0 {} {}" '
            'preserveAspectRatio="none">{}</svg>{}</svg>',
            self.label,
            bottom + BELOW,
            _grid([ABOVE, ABOVE + HEIGHT // 2, bottom]),
            format_html_join(
                "",
                '<line x1="{0}%" x2="{0}%" y1="{1}" y2="{2}"/>'
                '<text class="hookbox-tick" x="{0}%" y="{3}">{4}</text>',
                [(mark.place, bottom, bottom + 4, bottom + 16, mark.text) for mark in marks],
            ),
            ABOVE,
            HEIGHT,
            count,
            UNITS,
            format_html_join(
                "",
                '<path class="hookbox-line hookbox-line-{}" d="{}"/>',
                [(number, path(line.values, top)) for number, line in enumerate(self.lines, 1)],
            ),
            format_html_join(
                "",
                '<text x="0" y="{}">{}</text>',
                [(ABOVE - 4, self.write(top)), (ABOVE + HEIGHT // 2 - 4, self.write(top / 2))],
            ),
        )

    def rows(self, when: Callable[[int], str]) -> Iterator[Row]:
        """Yield the table behind the chart, latest first.

        Args:
            when: Writes the time of a point.

        """
        for index in reversed(range(len(self.history.points))):
            values = [(line.name, line.values[index]) for line in self.lines]
            if any(value is not None for _name, value in values):
                texts = ((name, "-" if v is None else self.write(v)) for name, v in values)
                yield Row(when(index), tuple(texts))


def _grid(heights: Sequence[int]) -> SafeString:
    return format_html_join(
        "", '<line x1="0" x2="100%" y1="{0}" y2="{0}"/>', [(height,) for height in heights]
    )


def path(values: Sequence[float | None], top: float) -> str:
    """Return the path of a line, interrupted where nothing was measured."""
    parts = []
    is_drawing = False
    for index, value in enumerate(values):
        if value is None:
            is_drawing = False
            continue
        height = round(UNITS - UNITS * min(value, top) / top)
        if not is_drawing:
            parts.append(f"M{index} {height}")  # a single point is a short line
        parts.append(f"L{index + 0.5:g} {height}")
        if index + 1 == len(values) or values[index + 1] is None:
            parts.append(f"L{index + 1} {height}")
        is_drawing = True
    return "".join(parts)
