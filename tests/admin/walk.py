"""Fetch every page of every admin site of the settings: `python -m tests.admin.walk`.

It prints what is wrong, and how many pages and links it has looked at. A process of its own, for
settings that one process cannot have beside those of the other tests.
"""

from __future__ import annotations

import re
import sys
from html import unescape
from urllib.parse import urlsplit

import django

#: The roots of our pages, and the addresses of the sites they belong to.
SITES = {"/admin/djhookbox/": "/admin/", "/staff/back-office/djhookbox/": "/staff/back-office/"}


def main() -> int:
    django.setup()
    from django.contrib.auth.models import User
    from django.db import connection, transaction
    from django.test import Client
    from django.test.utils import setup_test_environment

    from djhookbox import client as rest
    from tests.admin.catalogue import CONNECTION, pages, populate
    from tests.admin.stand_in import Hookbox

    setup_test_environment()
    stand_in = Hookbox()
    stand_in.live = {"/front/": 1}
    stand_in.answers["get_channel_info"] = {"subscribers": ["alice"], "options": {}}
    open_now = {"conn_id": CONNECTION, "channels": ["/front/"]}
    stand_in.answers["list_connections"] = {"total": 1, "connections": [open_now]}
    rest.rest_call = stand_in  # type: ignore[assignment]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    problems: list[str] = []
    seen: set[str] = set()
    count = 0
    try:
        rows = populate()
        browser = Client()
        browser.force_login(User.objects.create_superuser("root"))
        for root, site in SITES.items():
            for name, url in pages(rows, root).items():
                count += 1
                response = browser.get(url, follow=True)
                if response.status_code != 200:
                    problems.append(f"{url}: {response.status_code}")
                    continue
                html = response.content.decode()
                # The history of a row is Django's own page.
                if "djhookbox/admin.css" not in html and "history" not in name:
                    problems.append(f"{name}: without our stylesheet ({url})")
                links = {unescape(link) for link in re.findall(r'(?:href|action)="(/[^"]*)"', html)}
                for link in links:
                    # "/" is the link to the public site.
                    if link == "/" or link.startswith("/static/") or link in seen:
                        continue
                    if not link.startswith(site):
                        problems.append(f"{url} leads to {link}")
                    seen.add(link)
        for link in sorted(seen):
            if "/logout/" in urlsplit(link).path:
                continue
            with transaction.atomic():
                status = browser.get(link).status_code
                transaction.set_rollback(True)
            if status not in (200, 302, 405):
                problems.append(f"{link}: {status}")
    finally:
        connection.creation.destroy_test_db("", verbosity=0)
    print(*problems, sep="\n")
    print(f"{count} pages, {len(seen)} links, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
