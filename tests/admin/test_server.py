"""The server page: each state, each switch, and who may use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from djhookbox import process
from djhookbox.process import ProcessError, ProcessStatus, State

from .stand_in import APP, Hookbox, messages_of, person, signed_in

PAGE = f"{APP}server/"


@pytest.fixture
def operator(db: None) -> Client:
    return signed_in(person("operator", "control_server"))


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def found(**known: Any) -> None:
        now = ProcessStatus(message="So it is.", **known)
        monkeypatch.setattr(process, "status", lambda: now)

    return found


def test_what_runs_is_described(viewer: Client, hookbox: Hookbox) -> None:
    page = viewer.get(PAGE).content.decode()
    for text in ("Running", "4121", "3 days 03:52:05", "memory", "Connections"):
        assert text in page
    assert "/stop/" not in page


def test_nothing_secret_is_shown(root: Client, settings: Any) -> None:
    settings.HOOKBOX_REST_SECRET = "open-sesame"
    settings.HOOKBOX_WEBHOOK_SECRET = "shut-sesame"
    assert "sesame" not in root.get(PAGE).content.decode()


@pytest.mark.parametrize("state", list(State))
def test_each_state_has_a_word_and_a_next_step(
    operator: Client, viewer: Client, pretend: Any, state: State
) -> None:
    pretend(state=state)
    response = operator.get(PAGE)
    assert response.status_code == 200
    assert "So it is." in response.content.decode()
    assert bool(response.context["next_step"]) == (state != State.RUNNING)
    assert viewer.get(PAGE).status_code == 200


def test_switches_show_where_they_work(operator: Client, viewer: Client, pretend: Any) -> None:
    pretend(state=State.RUNNING, ours=True)
    page = operator.get(PAGE).content.decode()
    assert f"{PAGE}stop/" in page
    assert f"{PAGE}restart/" in page
    assert f"{PAGE}start/" not in page
    assert f"{PAGE}stop/" not in viewer.get(PAGE).content.decode()
    pretend(state=State.STOPPED)
    page = operator.get(PAGE).content.decode()
    assert f"{PAGE}start/" in page
    assert f"{PAGE}stop/" not in page
    assert f"{PAGE}start/" not in viewer.get(PAGE).content.decode()


def test_without_process_control_there_are_no_switches(
    operator: Client, hookbox: Hookbox, settings: Any
) -> None:
    settings.HOOKBOX_PROCESS_CONTROL = False
    hookbox.running = False
    page = operator.get(PAGE).content.decode()
    assert "HOOKBOX_PROCESS_CONTROL is off" in page
    assert "manage.py runhookbox" in page
    assert f"{PAGE}start/" not in page
    response = operator.post(f"{PAGE}start/", follow=True)
    assert any("HOOKBOX_PROCESS_CONTROL is off" in text for text in messages_of(response))


@pytest.mark.parametrize("name", ["start", "stop", "restart"])
def test_a_switch_acts_by_post_and_leaves_a_line(
    operator: Client, pretend: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pretend(state=State.RUNNING, ours=True, pid=77)
    pressed: list[str] = []

    def operate() -> ProcessStatus:
        pressed.append(name)
        return process.status()

    monkeypatch.setattr(process, name, operate)
    assert operator.get(f"{PAGE}{name}/").status_code == (405 if name == "start" else 200)
    assert operator.delete(f"{PAGE}{name}/").status_code == 405
    assert not pressed
    response = operator.post(f"{PAGE}{name}/", follow=True)
    assert pressed == [name]
    assert len(messages_of(response)) == 1
    entry = LogEntry.objects.get()
    assert entry.change_message.lower().startswith(name)
    assert entry.object_repr == "Hookbox"
    assert operator.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    ("connections", "words"),
    [
        (1284, "1284 connections are dropped."),
        (1, "1 connection is dropped."),
        (0, "Nobody is connected"),
        (None, "All connections are dropped."),
    ],
)
def test_the_question_names_the_effect(
    operator: Client, pretend: Any, connections: int | None, words: str
) -> None:
    pretend(state=State.RUNNING, ours=True, connections=connections)
    for name in ("stop", "restart"):
        assert words in operator.get(f"{PAGE}{name}/").content.decode()


def test_a_question_about_what_is_not_ours_leads_back(operator: Client, pretend: Any) -> None:
    pretend(state=State.RUNNING)
    response = operator.get(f"{PAGE}stop/", follow=True)
    assert response.redirect_chain == [(PAGE, 302)]
    assert messages_of(response) == ["So it is."]


def test_a_failure_is_a_sentence_and_the_log_is_shown(
    operator: Client, pretend: Any, monkeypatch: pytest.MonkeyPatch, viewer: Client, tmp_path: Path
) -> None:
    pretend(state=State.UNREACHABLE, ours=True)
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    (folder / "hookbox.log").write_text("first\nImportError: no module <named> x\n")

    def fail() -> ProcessStatus:
        raise ProcessError("The process ended at once. Its log says why.")

    monkeypatch.setattr(process, "start", fail)
    response = operator.post(f"{PAGE}start/", follow=True)
    assert messages_of(response) == ["The process ended at once. Its log says why."]
    assert "no module &lt;named&gt; x" in response.content.decode()
    assert not LogEntry.objects.exists()
    assert "no module" not in viewer.get(PAGE).content.decode(), "not for those who only look"


def test_there_is_nothing_but_the_page(root: Client) -> None:
    assert root.get(f"{PAGE}add/").status_code == 404
    assert root.get(f"{PAGE}1/change/").status_code == 404
    assert f'href="{PAGE}"' in root.get("/admin/").content.decode()
