"""Large publications, and a site that takes only small forms."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from .conftest import MakePair, entering


def test_a_site_with_a_small_limit_for_forms(make_pair: MakePair) -> None:
    """It publishes, subscribes and logs what is larger than the limit."""
    pair = make_pair(DATA_UPLOAD_MAX_MEMORY_SIZE=20_000)
    site = pair.site
    site.run()
    pair.hookbox.run()
    everyone = {"subscribe_audience": "everyone", "publish_audience": "everyone"}
    site.do("policy", "/asked/<slug:room>/", **everyone)
    site.do("policy", "/open/", moderated=False, **everyone)
    with ExitStack() as stack:
        page = entering(pair, stack)("alice")
        names = [f"/asked/{'x' * 200}{number}/" for number in range(120)]
        page.answer(page.send("SUBSCRIBE", channels=names))
        page.subscribe("/open/")
        payload = "é" * 30_000
        for channel in (names[0], "/open/"):
            page.publish(channel, payload)
            page.expect("PUBLISH", channel_name=channel, payload=payload)
        page.publish("/open/", "and on")
        page.expect("PUBLISH", payload="and on")
        rows = site.rows("Publication", 3)
    assert [(row["channel"], row["size"], row["delivered"]) for row in rows] == [
        (names[0], 60_002, 1), ("/open/", 60_002, 1), ("/open/", 8, 1),
    ]  # fmt: skip
    assert len(site.rows("SubscriptionLog", 0, event="subscribe")) == 121
    assert "failed" not in pair.hookbox.log()


@pytest.mark.parametrize("characters", [65_000, 200_000])
def test_one_publication_stops_no_audit_row(make_pair: MakePair, characters: int) -> None:
    """Limits count bytes: 65,000 emoji fit into a frame, 200,000 do not."""
    pair = make_pair()
    pair.site.run()
    pair.hookbox.run()
    audiences = {"subscribe_audience": "everyone", "publish_audience": "everyone"}
    pair.site.do("policy", "/open/", moderated=False, **audiences)
    with ExitStack() as stack:
        page = entering(pair, stack)("alice")
        page.subscribe("/open/")
        text = "😀" * characters
        frame = [99, "PUBLISH", {"channel_name": "/open/", "payload": f'"{text}"'}]
        page.send_text(json.dumps(frame, ensure_ascii=False) + "\r\n")
        if characters == 200_000:
            assert "Frame too large" in page.expect("ERROR", id=99)["msg"]
        else:
            page.expect("PUBLISH", payload=text)
        page.publish("/open/", "and on")
        page.expect("PUBLISH", payload="and on")
        rows = pair.site.rows("Publication", 2 if characters == 65_000 else 1)
    assert rows[-1]["payload"] == "and on"
    assert rows[0]["payload"] == (text if characters == 65_000 else "and on")
    assert "failed" not in pair.hookbox.log()
