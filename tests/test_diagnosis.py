"""What the site tells a page that cannot connect, while DEBUG is on."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from djhookbox.conf import settings as ours
from djhookbox.process import control
from djhookbox.testing import real_process

from .ports import free_port

pytestmark = pytest.mark.django_db
URL = "/hookbox/diagnosis/"


@pytest.fixture(autouse=True)
def _settings(settings: Any, tmp_path: Any) -> None:
    settings.DEBUG = True
    settings.HOOKBOX_RUN_DIR = tmp_path / "run"
    settings.HOOKBOX_PORT = free_port()


def test_only_in_debug(settings: Any, client: Client) -> None:
    settings.DEBUG = False
    assert client.get(URL).status_code == 404
    settings.DEBUG = True
    assert client.post(URL).status_code == 405


@real_process()
def test_a_process_that_does_not_run(client: Client, caplog: Any) -> None:
    answer = client.get(URL)
    problems = answer.json()["problems"]
    assert "no-store" in answer["Cache-Control"]
    texts = " ".join(f"{each['text']} {each['advice']}" for each in problems)
    assert "runhookbox" in texts
    # The terminal says the same.
    said = [record.getMessage() for record in caplog.records if record.name == "djhookbox"]
    assert len(said) == len(problems)
    assert all(line.startswith("A page of http://testserver could not connect:") for line in said)


@real_process()
def test_the_interface_is_named(client: Client, settings: Any, monkeypatch: Any) -> None:
    status = control.ProcessStatus(state=control.State.RUNNING, message="It runs.")
    monkeypatch.setattr(control, "status", lambda: status)
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    problems = client.get(URL, headers={"host": "127.0.0.1:8000"}).json()["problems"]
    (unreachable,) = [each for each in problems if "/ws does not answer" in each["text"]]
    assert f"http://127.0.0.1:{ours.port}/ws" in unreachable["text"]
    assert "HOOKBOX_INTERFACE" in unreachable["advice"]
