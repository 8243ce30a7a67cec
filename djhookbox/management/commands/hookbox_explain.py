"""Show whether a user may do something on a channel, and who decides it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from ... import strict_json
from ...decisions.decide import Decision
from ...decisions.trials import OPERATIONS, Trial, UnknownUser, attempt, user_named
from ...exceptions import HookboxError
from ...policy.rules import Operation
from ...vouching import validate_channel

#: Exit status for a refusal, and for no decision.
REFUSED, MISTAKEN = 1, 2


class Command(BaseCommand):
    """“Try a channel” of the admin as a command."""

    help = (
        "Shows whether a user may perform an operation on a channel, who decides it, "
        "and why the policies and handlers before did not. Handlers really run, but "
        "their changes to the database are rolled back; signal receivers are not "
        "called. The exit status is 0 if the operation is allowed, 1 if it is refused, "
        "and 2 if no decision could be made."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the user, the channel and the operation."""
        parser.formatter_class = argparse.HelpFormatter
        parser.add_argument(
            "user", help="The user's name; an empty one ('') is an anonymous visitor."
        )
        parser.add_argument("channel", help="The channel's name, such as /news/today/.")
        parser.add_argument(
            "--operation",
            choices=[operation.value for operation in OPERATIONS],
            default=Operation.SUBSCRIBE.value,
            help="What the user wants to do (default: subscribe).",
        )
        parser.add_argument(
            "--payload",
            help="The message to publish, as JSON, for handlers that look at it.",
            default="null",
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="Answer in JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Try the operation and print the result.

        Raises:
            CommandError: No decision could be made.

        """
        try:
            user = user_named(options["user"])
            validate_channel(options["channel"])
            payload = strict_json.read(options["payload"])
        except (UnknownUser, HookboxError) as error:
            raise CommandError(str(error), returncode=MISTAKEN) from error
        except strict_json.JSONProblem as error:
            raise CommandError(f"--payload: {error}", returncode=MISTAKEN) from error
        trial = attempt(user, options["channel"], Operation(options["operation"]), payload)
        if options["as_json"]:
            self.stdout.write(json.dumps(_report(trial), ensure_ascii=False, indent=2))
        else:
            self._tell(trial)
        if not trial.allowed:
            sys.exit(REFUSED)

    def _tell(self, trial: Trial) -> None:
        style = self.style.SUCCESS if trial.allowed else self.style.ERROR
        self.stdout.write(style(trial.outcome))
        self._steps(str(trial.operation.label), trial.decision)
        if trial.creation is not None:
            self._steps(str(Operation.CREATE.label), trial.creation)
        if trial.options is not None:
            self.stdout.write("")
            self.stdout.write(_("Options of the channel when it is created:"))
            for name, value in trial.options.items():
                self.stdout.write(f"  {name}: {json.dumps(value, ensure_ascii=False, default=str)}")
        if trial.disabled:
            names = ", ".join(trial.disabled)
            self.stdout.write("")
            self.stdout.write(_("Disabled, but would match: %(names)s") % {"names": names})

    def _steps(self, title: str, decision: Decision) -> None:
        self.stdout.write("")
        self.stdout.write(f"{title}:")
        for step in decision.steps:
            self.stdout.write(f"  {step.who or '-'}: {step.said}")


def _report(trial: Trial) -> dict[str, object]:
    return {
        "user": trial.user,
        "channel": trial.channel,
        "operation": trial.operation.value,
        "allowed": trial.allowed,
        "outcome": trial.outcome,
        "decision": _decision(trial.decision),
        "creation": None if trial.creation is None else _decision(trial.creation),
        "options": trial.options,
        "disabled": list(trial.disabled),
    }


def _decision(decision: Decision) -> dict[str, object]:
    return {
        "allowed": decision.allowed,
        "decided_by": decision.decided_by,
        "reason": decision.reason,
        "steps": [
            {"who": step.who, "outcome": step.outcome.value, "said": step.said}
            for step in decision.steps
        ],
    }
