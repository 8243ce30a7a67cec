"""The configuration of the server."""

from __future__ import annotations

from typing import Any

import pytest

from djhookbox.server.config import ConfigError, ServerConfig, changed_config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", -1), ("port", 65_536), ("interface", "http://x"), ("interface", "a b"),
        ("webhook_url", ""), ("webhook_url", "127.0.0.1:8000"), ("webhook_url", "ftp://x/"),
        ("webhook_url", "http://:80/"), ("webhook_url", "http://x:99999/"),
        ("webhook_url", "http://[::1/"), ("single_url", "nowhere"),
        ("webhook_paths", {"bang": "x"}), ("trusted_proxies", ("proxy.example",)),
        ("polling_hosts", ("http://feed.example",)),
        ("webhook_timeout", 0), ("webhook_timeout", float("nan")), ("max_frame_size", 0),
        ("webhook_concurrency", -1), ("max_events", 0), ("history_linger", 0),
    ],
)  # fmt: skip
def test_values_that_cannot_work(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        ServerConfig(**{name: value})
    assert caught.value.name == name
    assert str(caught.value).startswith(name)


def test_defaults_work() -> None:
    assert ServerConfig().interface == "127.0.0.1"


def test_set_config() -> None:
    config = ServerConfig(webhook_url="http://127.0.0.1:8000/hookbox", webhook_secret="a")
    assert changed_config(config, {}) == config
    assert changed_config(config, {"unknown": 5, "admin_password": "x"}) == config
    changed = changed_config(
        config,
        {"cbhost": "::1", "cbport": 9000, "cbpath": "/h/", "cb_publish": "pub",
         "webhook_secret": "b", "cb_single_url": "http://x/all?a=1"},
    )  # fmt: skip
    assert changed.webhook_url == "http://[::1]:9000/h"
    assert changed.webhook_paths == {"publish": "pub"}
    assert (changed.webhook_secret, changed.single_url) == ("b", "http://x/all?a=1")
    again = changed_config(changed, {"cbport": 80})
    assert again.webhook_url == "http://[::1]:80/h"
    none = changed_config(changed, {"cb_single_url": None, "webhook_secret": None})
    assert (none.webhook_secret, none.single_url) == ("", "")


@pytest.mark.parametrize(
    "values",
    [{"cbhost": 5}, {"cbport": "x"}, {"cbport": -1}, {"cbport": None}, {"cbpath": "h"},
     {"cb_single_url": "x"}, {"webhook_secret": 5}, {"cb_publish": None}, {"cbhost": "a b/c:1"}],
)  # fmt: skip
def test_set_config_refuses_what_cannot_work(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        changed_config(ServerConfig(), values)
