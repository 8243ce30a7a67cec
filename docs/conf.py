"""Configuration of the documentation: `make docs` builds it in docs/_build/html."""

from __future__ import annotations

import sys
from pathlib import Path

import django
from django.conf import settings
from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from djhookbox import __version__  # noqa: E402

# The docstrings of models and signals can be imported only in a configured Django.
settings.configure(
    SECRET_KEY="only for building the documentation",  # noqa: S106
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "djhookbox",
    ],
    USE_TZ=True,
)
django.setup()

project = "django-hookbox"
author = "The django-hookbox developers"
copyright = "the django-hookbox developers"
release = __version__
version = release

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
nitpicky = False
exclude_patterns = ["_build"]
highlight_language = "console"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
default_role = "code"
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"{project} {release}"
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Add the kinds of things that have their own anchor."""
    app.add_object_type("setting", "setting", "pair: %s; setting")
    app.add_object_type("check", "check", "pair: %s; system check")
    app.add_object_type("errorcode", "errorcode", "pair: %s; error code")
    app.add_object_type("closecode", "closecode", "pair: %s; close code")
