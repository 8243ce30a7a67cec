"""The dashboard and the alerts in `example/operations` use only metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from djhookbox.server import exposition, usage

from .running import Start, read, send

FOLDER = Path(__file__).resolve().parents[2] / "example" / "operations"

#: Not ours: Prometheus itself writes it.
FOREIGN = {"up"}

METRIC = re.compile(r"\b(?:djhookbox|process)_[a-z_]+\b")
LABELS = re.compile(r"([a-z]+)\s*=~?\s*\"")


def dashboard() -> list[str]:
    found = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in found["panels"]]
    assert len(set(places)) == len(places), "no panel covers another"
    assert len({panel["id"] for panel in found["panels"]}) == len(places)
    return [target["expr"] for panel in found["panels"] for target in panel["targets"]]


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "prometheus-rules.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def test_alerts_are_complete() -> None:
    rules = alerts()
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical"), rule
        assert "$labels.instance" in rule["annotations"]["summary"], rule


@pytest.mark.parametrize("text", [*dashboard(), *(rule["expr"] for rule in alerts())])
def test_expressions_are_balanced(text: str) -> None:
    assert [text.count(one) for one in "({["] == [text.count(one) for one in ")}]"]
    assert METRIC.search(text) or "up{" in text


async def test_all_metrics_exist_and_all_are_shown(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await start()
    # A site with an outbox, a machine with a limit, and Redis.
    monkeypatch.setattr(type(one.server.channels.durable), "lag", 1.0)
    monkeypatch.setattr(usage, "memory_limit", lambda: 10**9)
    monkeypatch.setattr(exposition, "_engine_up", lambda runtime: 1.0)
    client = await one.open("alice")
    await send(client, "SUBSCRIBE", channel_name="room")
    while (await read(client))[1] != "SUBSCRIBE":
        pass
    headers = {"Authorization": "Bearer s"}
    async with one.http.get(f"{one.address}/metrics", headers=headers) as response:
        families = [*text_string_to_metric_families(await response.text())]
    known = {sample.name for family in families for sample in family.samples}
    known |= {family.name + "_total" for family in families if family.type == "counter"}
    texts = [*dashboard(), *(rule["expr"] for rule in alerts())]
    used = {name for text in texts for name in METRIC.findall(text)}
    assert used - known == set()
    labels = {label for family in families for s in family.samples for label in s.labels}
    for text in texts:
        assert {*LABELS.findall(text)} <= labels | {"job"}, text
    shown = {name for text in dashboard() for name in METRIC.findall(text)}
    ours = {family.name for family in families if family.name.startswith("djhookbox_")}
    unseen = {name for name in ours if not any(one.startswith(name) for one in shown)}
    assert unseen == {
        "djhookbox_info", "djhookbox_draining", "djhookbox_start_time_seconds",
        "djhookbox_site_failing_seconds", "djhookbox_events_limit",
    }  # fmt: skip
