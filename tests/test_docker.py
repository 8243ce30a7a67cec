"""The files for Docker: they are well-formed, follow the usual rules, and their site works."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from djhookbox.doctor import cookies, fallbacks, outside
from djhookbox.doctor.base import Level, Patient
from djhookbox.doctor.examination import CHECKS, examine

from . import proxies
from .needs import need
from .ports import free_port
from .projects import ROOT, Project

FOLDER = ROOT / "example" / "docker"
ENVIRONMENT = {"SITE_HOST": "example.com", "SECRET_KEY": "k" * 50, "DATABASE_PASSWORD": "p"}
URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("hookbox/", include("djhookbox.urls"))]
"""


# ---- Dockerfile ----------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments."""
    text = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _space, rest in (line.partition(" ") for line in lines)]


def test_the_dockerfile_follows_the_usual_rules() -> None:
    """Those of hadolint that apply: DL3000, DL3002, DL3006, DL3007, DL3020, DL3025, DL3042."""
    found = instructions()
    names = [name for name, _rest in found]
    known = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "CMD"}
    assert set(names) <= known
    assert names[0] == "FROM"
    assert re.fullmatch(r"python:\d+\.\d+-slim", found[0][1]), "a fixed version, not the latest"
    assert all(rest.startswith("/") for name, rest in found if name == "WORKDIR")
    users = [rest for name, rest in found if name == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    for name, rest in found:
        if name == "RUN" and "pip install" in rest:
            assert "--no-cache-dir" in rest
        if name == "COPY":
            assert len(shlex.split(rest)) >= 2
    (command,) = [rest for name, rest in found if name == "CMD"]
    assert json.loads(command)[0] == "gunicorn", "a list, so that signals reach the server"
    # What changes rarely comes first, so that a build need not install everything again.
    assert found.index(("COPY", "requirements.txt .")) < names.index("RUN")


def test_secrets_stay_outside_of_the_image() -> None:
    ignored = (FOLDER / ".dockerignore").read_text().split()
    assert {".env", ".git"} <= set(ignored)
    packages = (FOLDER / "requirements.txt").read_text().split()
    assert {"django-hookbox", "gunicorn"} <= set(packages)


# ---- compose.yaml --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    assert isinstance(found, dict)
    return found


def test_the_compose_file(compose: dict[str, Any]) -> None:
    services, volumes = compose["services"], compose["volumes"]
    known = {
        "build", "command", "depends_on", "environment", "healthcheck", "image", "init", "ports",
        "restart", "stop_grace_period", "ulimits", "volumes",
    }  # fmt: skip
    for name, service in services.items():
        assert re.fullmatch("[a-z]+", name), "Django refuses underscores in host names"
        assert set(service) <= known, name
        assert ("build" in service) != ("image" in service), name
        assert ":" in service.get("image", ":"), "a fixed version"
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in volumes or (FOLDER / source).exists(), volume
        for other in service.get("depends_on", ()):
            assert other in services
            needed = service["depends_on"]
            if isinstance(needed, dict) and needed[other]["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    hookbox = services["hookbox"]
    assert hookbox["command"] == ["python", "manage.py", "runhookbox"]
    assert hookbox["ulimits"]["nofile"] >= 65_536
    assert int(hookbox["stop_grace_period"].rstrip("s")) > 10, "more than HOOKBOX_GRACE_PERIOD"


def test_nothing_secret_is_written_down(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            if name in ENVIRONMENT or "PASSWORD" in name:
                assert value.startswith("${"), name
                assert ":?" in value, "compose complains if it is missing"


# ---- the site ------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Any:
    project = Project(tmp_path)
    project.write_site(["djhookbox"], urls=URLS)
    project.write("mysite/__init__.py", "")
    project.write("mysite/settings.py", "from settings import *\ndel HOOKBOX_CBPORT\n")
    project.write("mysite/production.py", (FOLDER / "production.py").read_text())
    yield project
    project.stop()


@pytest.mark.process
def test_the_settings_are_good(project: Project) -> None:
    project.manage(
        "check", "--deploy", "--tag", "djhookbox", "--fail-level", "WARNING",
        "--settings", "mysite.production", **ENVIRONMENT,
    )  # fmt: skip


@pytest.mark.process
@pytest.mark.slow
def test_the_proxy_forwards_what_it_should(project: Project, tmp_path: Path) -> None:
    need(proxies.CADDY, "Caddy is not installed")
    project.manage("migrate", "-v0")
    project.run()
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "page.css").write_text("a {}")
    text = (FOLDER / "Caddyfile").read_text()
    for old, new in (
        ("web:8000", f"127.0.0.1:{project.site_port}"),
        ("hookbox:8001", f"127.0.0.1:{project.hookbox_port}"),
        ("root * /static", f"root * {tmp_path / 'static'}"),
    ):
        assert old in text
        text = text.replace(old, new)
    port = free_port()
    with proxies.caddyfile(tmp_path, text, port) as origin:
        outer = {module.__name__ for module in (outside, cookies, fallbacks)}
        names = [check.name for check in CHECKS if type(check).__module__ in outer]
        patient = Patient(f"{origin}/realtime", origin, proxied=True)
        found = [each for _check, many in examine(patient, names) for each in many]
        assert [each for each in found if each.level is not Level.OK] == []
        assert proxies.fetched(f"{origin}/static/page.css") == (200, "a {}")
        assert proxies.fetched(f"{origin}/hookbox/connect")[0] == 404
        assert proxies.fetched(f"{origin}/admin/login/")[0] == 200
