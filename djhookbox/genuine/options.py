"""Options of runhookbox that only the genuine server supports, or that it does not support."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.conf import settings as django_settings
from django.utils.translation import gettext as _

from ..conf import settings

#: The webhook that was added after 0.3.3.
LATER_CALLBACK = "message"


def extras(options: Mapping[str, object]) -> list[str]:
    """Return the options that only the genuine server supports."""
    names = {
        "log_file_errors": "-E",
        "log_file_access": "-A",
        "cookie_identifier": "-c",
        "objgraph": "-o",
    }
    given = [(flag, options[name]) for name, flag in names.items() if options[name] is not None]
    flags = ["-d"] if options["debug"] else []
    return flags + [word for flag, value in given for word in (flag, str(value))]


def unusable(options: Mapping[str, object]) -> Iterator[str]:
    """Yield explanations of options that the bundled server does not support."""
    if options["debug"]:
        yield _(
            "-d/--debug: the bundled server has no hookbox.js to compile. Remove the "
            "option; --log-level debug logs more."
        )
    if options["objgraph"]:
        yield _("-o/--objgraph: the bundled server does not draw object graphs. Remove the option.")


def withheld(options: Mapping[str, object]) -> Iterator[str]:
    """Yield warnings about options and cookies that another program does not get."""
    for name in (
        "allow_origin", "polling_host", "jsonp", "rest_get", "allow_set_config", "log_level",
        f"cb_{LATER_CALLBACK}",
    ):  # fmt: skip
        if options[name]:
            yield _(
                "%(option)s applies only to the bundled server and is not passed to this program."
            ) % {"option": f"--{name.replace('_', '-')}"}
    # If a setting names the program, a system check reports this.
    if django_settings.SESSION_COOKIE_HTTPONLY and not settings.executable:
        yield _(
            "Hookbox 0.3.3 reads cookies through the scripts of a page, which cannot see "
            "the session cookie, so every user is anonymous. See SESSION_COOKIE_HTTPONLY."
        )


def secrets_in_sight(password: str | None) -> str:
    """Explain who can read the secrets that 0.3.3 only accepts on its command line."""
    options = "-s, -r, -a" if password else "-s, -r"
    return _(
        "This program receives its secrets on the command line (%(options)s), where "
        "every user of this machine can read them with ps. Do not let anybody else log "
        "in here, or mount /proc with hidepid=2. The bundled server does not expose "
        "its secrets."
    ) % {"options": options}
