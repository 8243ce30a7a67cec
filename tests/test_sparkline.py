"""The sparkline; the page's script formats and draws like the templates."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from django.utils import translation

from djhookbox.admin.server.report import rate, whole
from djhookbox.templatetags.djhookbox_admin import points, sparkline

from .needs import need

SCRIPT = Path(__file__).resolve().parent.parent / "djhookbox/static/djhookbox/admin/report.js"
SERIES = [[], [0], [0.0, 0.0], [3, 1.5, 0, 12.25], [n * 0.7 for n in range(59)]]
NUMBERS = [0, 7, 999, 1000, 1234567, 0.04, 0.26, 3.14, 87.06, 4120.4]


def test_the_label_says_what_the_drawing_shows() -> None:
    svg = sparkline([1.0, 4.26, 2.0], "Messages <in>")
    assert 'role="img"' in svg
    assert "Messages &lt;in&gt; in the last ten minutes: minimum 1.0, maximum 4.3, now 2.0" in svg
    assert "currentColor" in svg
    assert "style=" not in svg
    assert "minimum -, maximum -, now -" in sparkline([], "x")


def test_now_is_at_the_right_and_the_most_at_the_top() -> None:
    drawn = [tuple(map(float, point.split(","))) for point in points([0, 5, 10]).split()]
    assert [x for x, _y in drawn] == sorted(x for x, _y in drawn)
    assert drawn[-1] == (120.0, 1.0)
    assert drawn[0][1] == 23.0


def test_the_script_writes_alike(settings: Any) -> None:
    node = shutil.which("node")
    need(node, "Node is not installed")
    assert node
    settings.USE_THOUSAND_SEPARATOR = True
    program = f"""
        import {{ ReportView, allConnections, points }} from {json.dumps(SCRIPT.as_uri())};
        const view = new ReportView(null, {{ decimal: ",", group: ".", timeZone: "UTC" }});
        const [series, numbers] = {json.dumps([SERIES, NUMBERS])};
        console.log(JSON.stringify({{
          points: series.map(points),
          whole: numbers.map((n) => view.whole(Math.trunc(n))),
          rate: numbers.map((n) => view.rate(n)),
          clock: [view.clock(1300000000, 1300000001000), view.clock(1300000000, 1400000000000)],
          connections: [
            {{ connections: 3 }}, {{ connections: 3, nodes: [{{ connections: 2 }}] }},
            {{
              connections: 3,
              nodes: [{{ connections: 2 }}, {{ connections: 4, alive: true }}, {{}},
                {{ connections: 9, alive: false }}],
            }},
          ].map(allConnections),
          none: [view.whole(undefined), view.rate(null)],
        }}));
    """
    result = subprocess.run(
        [node, "--input-type=module", "-e", program], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    written = json.loads(result.stdout)
    with translation.override("de"):
        assert written == {
            "points": [points(series) for series in SERIES],
            "whole": [whole(int(number)) for number in NUMBERS],
            "rate": [rate(number) for number in NUMBERS],
            "clock": ["07:06:40", "2011-03-13 07:06"],
            "connections": [3, 3, 6],
            "none": ["", ""],
        }
