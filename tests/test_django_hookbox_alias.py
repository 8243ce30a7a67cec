from __future__ import annotations

import subprocess
import sys
import textwrap

import django_hookbox
import djhookbox
from django_hookbox import signals as alias_signals
from django_hookbox import views as alias_views


def test_the_names_are_those_of_djhookbox():
    assert django_hookbox.__all__ == djhookbox.__all__
    assert django_hookbox.__version__ == djhookbox.__version__
    for name in djhookbox.__all__:
        if name != "signals":
            assert getattr(django_hookbox, name) is getattr(djhookbox, name)
    assert set(dir(django_hookbox)) >= set(djhookbox.__all__)
    assert not hasattr(django_hookbox, "no_such_name")


def test_the_signals_are_the_same_objects():
    assert alias_views.signals is djhookbox.signals.signals
    for name in djhookbox.signals.signals:
        assert getattr(alias_signals, name) is getattr(djhookbox.signals, name)


def test_the_routes_are_the_same():
    import djhookbox.urls
    from django_hookbox import urls

    assert urls.urlpatterns is djhookbox.urls.urlpatterns


def run(installed, code):
    """Set up a site with these INSTALLED_APPS and run code in it."""
    script = textwrap.dedent(
        """
        import django
        from django.conf import settings
        settings.configure(
            SECRET_KEY="x" * 50,
            INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", *{installed!r}],
            DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
        )
        django.setup()
        """
    ).format(installed=installed) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    )


def test_the_app_is_djhookbox():
    done = run(
        ["django_hookbox"],
        """
        from django.apps import apps
        from django.core.management import call_command, get_commands
        from django.template import Engine
        config = apps.get_app_config("djhookbox")
        assert config.name == "djhookbox", config.name
        assert config.get_model("ChannelPolicy")
        assert get_commands()["runhookbox"] == "djhookbox"
        call_command("migrate", verbosity=0)
        config.get_model("ChannelPolicy").objects.create(name="a", pattern="/a/")
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)
        print("ok")
        """,
    )
    assert done.stdout == "ok\n", done.stderr


def test_both_names_at_once_are_explained():
    for installed in (
        ["djhookbox", "django_hookbox"],
        ["django_hookbox", "djhookbox"],
        ["django_hookbox", "djhookbox.apps.HookboxConfig"],
    ):
        done = run(installed, "")
        assert done.returncode != 0
        assert "Delete 'django_hookbox'" in done.stderr
