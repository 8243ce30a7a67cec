"""`manage.py hookbox doctor`: check every step from the browser to Django."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..doctor.base import Level, Patient
from ..doctor.examination import NAMES, examine
from ..wire.urls import WEB_SCHEMES, is_absolute
from .base import DONE, REFUSED, Mistake, Options, Subcommand

#: Options that are URLs → the schemes that these may have.
SCHEMES = {"url": (*WEB_SCHEMES, "ws", "wss"), "origin": WEB_SCHEMES}


class Doctor(Subcommand):
    """Runs the checks and prints what to do."""

    name = "doctor"
    help = (
        "Checks every step from a browser to Django, and says how to fix what is wrong. It opens a "
        "connection as a browser would, which the connection log records. The exit status is 1 if "
        "there is an error."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add what is examined."""
        parser.add_argument(
            "--url", default="", help="URL that browsers connect to (default: HOOKBOX_PUBLIC_URL)."
        )
        parser.add_argument(
            "--origin", default="", help="Origin of the site's pages, such as https://example.com."
        )
        parser.add_argument(
            "--slow", action="store_true", help="Measure timeouts, for up to a minute."
        )
        parser.add_argument(
            "--only", action="append", choices=NAMES, default=[], help="Run only this check."
        )
        parser.add_argument(
            "--strict", action="store_true", help="Exit with status 1 for warnings as well."
        )

    def run(self, options: Options) -> int:
        """Print a line for each finding."""
        for name, schemes in SCHEMES.items():
            if options[name] and not is_absolute(options[name], schemes):
                raise Mistake(
                    _("--%(name)s is “%(value)s”; it must be a URL such as “https://example.com”.")
                    % {"name": name, "value": options[name]},
                    code="malformed",
                )
        patient = Patient.from_settings(options["url"], options["origin"], slow=options["slow"])
        counts: Counter[Level] = Counter()
        report = []
        for check, findings in examine(patient, options["only"]):
            for finding in findings:
                counts[finding.level] += 1
                report.append(
                    {
                        "check": check.name,
                        "level": finding.level.value,
                        "text": finding.text,
                        "advice": finding.advice,
                    }
                )
                if not options["json"]:
                    self._print(_(check.title), finding.level, finding.text, finding.advice)
        if options["json"]:
            self.print_json(report)
        else:
            self._sum_up(counts)
        bad = counts[Level.ERROR] or (options["strict"] and counts[Level.WARNING])
        return REFUSED if bad else DONE

    def _print(self, title: str, level: Level, text: str, advice: str) -> None:
        style, word = {
            Level.OK: (self.style.SUCCESS, _("ok")),
            Level.WARNING: (self.style.WARNING, _("warning")),
            Level.ERROR: (self.style.ERROR, _("error")),
        }[level]
        self.say(f"{style(word.ljust(8))} {title}: {text}")
        if advice:
            self.say(f"{'':8} → {advice}")
        self.stdout.flush()

    def _sum_up(self, counts: Counter[Level]) -> None:
        errors, warnings = counts[Level.ERROR], counts[Level.WARNING]
        if not errors and not warnings:
            self.say(self.style.SUCCESS(_("Everything is fine.")))
            return
        self.say(
            ", ".join(
                (
                    ngettext("%(count)d error", "%(count)d errors", errors) % {"count": errors},
                    ngettext("%(count)d warning", "%(count)d warnings", warnings)
                    % {"count": warnings},
                )
            )
        )
