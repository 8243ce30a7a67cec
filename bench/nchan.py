"""The configuration of nginx with nchan, a publish/subscribe server written in C.

Debian and Ubuntu have it as `nginx` and `libnginx-mod-nchan`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

CONFIG = """
load_module {module};
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 30000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 10000000;
    tcp_nodelay on;
    nchan_max_reserved_memory 256M;
    server {{
        listen 127.0.0.1:{port} sndbuf=64k backlog=1024;
        location = /ws {{
            nchan_subscriber websocket;
            nchan_channel_id $arg_id;
            nchan_subscriber_first_message newest;
        }}
        location = /publish {{
            nchan_publisher;
            nchan_channel_id $arg_id;
            nchan_message_buffer_length 1;
            nchan_message_timeout 5s;
        }}
    }}
}}
"""


def installed() -> bool:
    """Return whether nginx and nchan are installed."""
    return MODULE.exists() and shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin") is not None


def command(port: int, folder: str) -> list[str]:
    """Write the configuration into a folder; return the command that starts nginx."""
    config = Path(folder, "nginx.conf")
    config.write_text(CONFIG.format(module=MODULE, folder=folder, port=port))
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin") or "nginx"
    return [nginx, "-c", str(config), "-p", folder, "-e", f"{folder}/error.log"]
