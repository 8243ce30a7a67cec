"""Fill a database and serve the site: `python -m tests.admin_site PORT` (or `PORT empty`)."""

from __future__ import annotations

import json
import os
import sys

import django


def main(port: str, empty: bool) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.admin_site.settings"
    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.core.management import call_command

    from tests.admin import catalogue
    from tests.admin_site import moods

    call_command("migrate", verbosity=0)
    User.objects.create_superuser("root", password="root")
    rows = {} if empty else catalogue.populate()
    if empty:
        found = {name: catalogue.APP + catalogue.PAGES[name][0] for name in catalogue.EMPTY}
    else:
        found = catalogue.pages(rows)
    (settings.FOLDER / "pages.json").write_text(json.dumps(found))
    moods.install()
    call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)


main(sys.argv[1], "empty" in sys.argv)
