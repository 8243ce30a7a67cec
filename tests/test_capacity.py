"""The table of what processes and Redis carry is what the model calculates."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from bench.capacity import COSTS, LOADS, Load, need, table

pytestmark = pytest.mark.once

PAGE = Path(__file__).resolve().parents[1] / "docs" / "explanation" / "scaling.rst"


def test_the_page_has_the_table_and_the_costs() -> None:
    text = PAGE.read_text()
    assert table() in text, "copy the output of python -m bench.capacity"
    shown = text[text.index("Microseconds of CPU") :]
    for field in fields(COSTS):
        if field.name != "memory":
            assert f" {getattr(COSTS, field.name):g}\n" in shown, field.name


@pytest.mark.parametrize("load", LOADS)
def test_more_clients_and_greater_costs_need_more(load: Load) -> None:
    what = need(load)
    assert 1 <= what.readers <= what.nodes
    more = need(replace(load, connections=2 * load.connections))
    assert (more.nodes, more.redis, more.storm) >= (what.nodes, what.redis, what.storm)
    for name in ("publication", "following"):
        dearer = replace(COSTS, **{name: 10 * getattr(COSTS, name)})
        assert need(load, dearer).nodes >= what.nodes
    assert need(load, replace(COSTS, redis_reader=0)).redis <= what.redis


def test_one_node_follows_no_other() -> None:
    what = need(Load(1000, 10, 0.1))
    assert (what.nodes, what.readers) == (1, 1)
    assert what.redis == pytest.approx(10 * COSTS.redis_publication / 1e6)
