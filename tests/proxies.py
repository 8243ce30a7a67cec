"""Run Apache and Caddy in front of a site and its Hookbox process, where they are installed."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .projects import answers
from .stand_ins.waiting import PATIENCE, wait_for

APACHE = shutil.which("apache2") or shutil.which("apache2", path="/usr/sbin:/usr/local/sbin")
CADDY = shutil.which("caddy")


def _buffering() -> str:
    """Return the option with which this version of Caddy buffers answers."""
    if CADDY is None:
        return ""
    version = subprocess.run([CADDY, "version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)", version)
    newer = found is None or (int(found[1]), int(found[2])) >= (2, 7)
    return "response_buffers 64KiB" if newer else "buffer_responses"


CADDY_BUFFERS = _buffering()

MODULES = "/usr/lib/apache2/modules"
APACHE_CONF = """
ServerRoot "{folder}"
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile "{folder}/apache.pid"
ErrorLog "{folder}/apache-error.log"
Mutex file:{folder}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_host_module {modules}/mod_authz_host.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
ProxyPreserveHost on
{snippet}
ProxyPass "/" "{site}/"
"""

CADDY_CONF = """
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
{snippet}
    handle {{
        reverse_proxy {site}
    }}
}}
"""


@contextmanager
def apache(folder: Path, *, port: int, site: str, snippet: str) -> Iterator[str]:
    """Run Apache with these configuration lines and yield its origin."""
    assert APACHE is not None
    conf = folder / "apache.conf"
    conf.write_text(
        APACHE_CONF.format(folder=folder, port=port, site=site, snippet=snippet, modules=MODULES)
    )
    # It would wait some seconds for each open connection. As one process, it leaves nothing behind.
    with _running([APACHE, "-f", str(conf), "-X"], folder, port, signal.SIGKILL) as origin:
        yield origin


@contextmanager
def caddy(folder: Path, *, port: int, site: str, snippet: str) -> Iterator[str]:
    """Run Caddy with these configuration lines and yield its origin."""
    assert CADDY is not None
    conf = folder / "Caddyfile"
    conf.write_text(CADDY_CONF.format(port=port, site=site, snippet=snippet))
    command = [CADDY, "run", "--config", str(conf), "--adapter", "caddyfile"]
    with _running(command, folder, port) as origin:
        yield origin


@contextmanager
def caddyfile(folder: Path, text: str, port: int) -> Iterator[str]:
    """Run Caddy with a file for SITE_HOST, without TLS, and yield its origin."""
    assert CADDY is not None
    options = "{\n    admin off\n    auto_https off\n}\n"
    (folder / "Caddyfile").write_text(
        options + text.replace("{$SITE_HOST}", f"http://127.0.0.1:{port}")
    )
    command = [CADDY, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    with _running(command, folder, port) as origin:
        yield origin


def fetched(url: str) -> tuple[int, str]:
    """Return the status and the text of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@contextmanager
def _running(
    command: list[str], folder: Path, port: int, end: signal.Signals = signal.SIGTERM
) -> Iterator[str]:
    log_path = folder / f"{Path(command[0]).name}.log"
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PATH": "/usr/bin:/bin"}
    with log_path.open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
    origin = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        assert server.poll() is None, log_path.read_text()
        return answers(origin)

    try:
        wait_for(is_up, command[0])
        yield origin
    finally:
        server.send_signal(end)
        server.wait(PATIENCE)
