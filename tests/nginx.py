"""Run nginx in front of a site and its Hookbox process, if it is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .needs import need
from .projects import answers
from .stand_ins.waiting import PATIENCE, wait_for

#: Debian keeps it where only root's PATH looks.
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

#: What is around the snippet of any site; one process, so that it needs no rights.
CONF = """
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {site};
            proxy_set_header Host $http_host;
        }}
{snippet}
    }}
}}
"""


def require_nginx() -> None:
    """Skip the test if nginx is not installed; in CI, fail it."""
    need(NGINX, "nginx is not installed (apt install nginx)")


@contextmanager
def proxy(folder: Path, *, port: int, site: str, snippet: str) -> Iterator[str]:
    """Run nginx with these configuration lines and yield its origin."""
    assert NGINX is not None
    (folder / "nginx.conf").write_text(CONF.format(port=port, site=site, snippet=snippet))
    log_path = folder / "nginx.log"
    with log_path.open("wb") as log:
        nginx = subprocess.Popen(
            [NGINX, "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off;"],
            stdout=log,
            stderr=log,
        )
    origin = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        assert nginx.poll() is None, log_path.read_text()
        return answers(origin)

    try:
        wait_for(is_up, f"nginx\n{log_path.read_text()}")
        yield origin
    finally:
        nginx.terminate()
        nginx.wait(PATIENCE)
