"""`manage.py hookbox quickstart`: from nothing to the first message."""

from __future__ import annotations

from argparse import ArgumentParser
from urllib.parse import urlsplit

from django.contrib.auth.models import AnonymousUser
from django.db import Error
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from .. import quickstart
from ..conf import settings
from ..decisions.trials import attempt
from ..policy.rules import Operation
from .base import DONE, REFUSED, Mistake, Options, Subcommand


class Quickstart(Subcommand):
    """Creates an example policy; the page that uses it exists while DEBUG is on."""

    name = "quickstart"
    help = (
        "Creates an example policy, which lets everybody read one channel, and names a page that "
        "shows the first message. Works only while DEBUG is on. --remove deletes the policy."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the option to undo it."""
        parser.add_argument("--remove", action="store_true", help="Delete the example policy.")

    def run(self, options: Options) -> int:
        """Create the policy, or delete it."""
        try:
            if options["remove"]:
                return self._remove(as_json=options["json"])
            return self._create(as_json=options["json"])
        except Error as error:
            raise Mistake(
                _("The database cannot be used: %(problem)s. Have you run “manage.py migrate”?")
                % {"problem": error}
            ) from error

    def _create(self, *, as_json: bool) -> int:
        if not settings.debug:
            raise Mistake(
                _(
                    "The quick start only works while DEBUG is on. It opens a channel to "
                    "everybody, which must not happen by accident in production."
                )
            )
        try:
            path = reverse("hookbox_quickstart")
        except NoReverseMatch:
            raise Mistake(
                _(
                    "The URLconf does not include the webhooks yet. Add path('hookbox/', "
                    "include('djhookbox.urls')) to urlpatterns."
                )
            ) from None
        created = quickstart.create_policy()
        trial = attempt(AnonymousUser(), quickstart.CHANNEL, Operation.SUBSCRIBE)
        parts = urlsplit(settings.webhook_url)
        page = f"{parts.scheme}://{parts.netloc}{path}" if parts.scheme == "http" else path
        if as_json:
            self.print_json(
                {
                    "created": created,
                    "policy": quickstart.POLICY,
                    "channel": quickstart.CHANNEL,
                    "page": page,
                    "works": trial.allowed,
                }
            )
            return DONE if trial.allowed else REFUSED
        if not trial.allowed:
            self.say(self.style.ERROR(trial.outcome))
            self.say(
                _(
                    "Another policy or handler decides about %(channel)s; see “manage.py hookbox "
                    "explain '' %(channel)s”."
                )
                % {"channel": quickstart.CHANNEL}
            )
            return REFUSED
        text = _("The policy “%(policy)s” has been created.")
        if not created:
            text = _("The policy “%(policy)s” exists.")
        self.say(self.style.SUCCESS(text % {"policy": quickstart.POLICY}))
        self.say(
            _(
                "It opens one channel, %(channel)s: everybody may read it, and only code may "
                "publish there. Everything else stays closed. It is an ordinary row of this "
                "database; delete it with “manage.py hookbox quickstart --remove” or in the admin."
            )
            % {"channel": quickstart.CHANNEL}
        )
        self.say("")
        self.say(_("1. Run “manage.py runserver”, which also starts the Hookbox process."))
        self.say(_("2. Open %(page)s (with another port if runserver has one).") % {"page": page})
        self.say(
            _("3. Publish: python manage.py hookbox publish %(channel)s '%(payload)s'")
            % {"channel": quickstart.CHANNEL, "payload": '{"text": "It works."}'}
        )
        return DONE

    def _remove(self, *, as_json: bool) -> int:
        removed = quickstart.remove_policy()
        if as_json:
            self.print_json({"removed": removed})
        elif removed:
            self.say(_("The policy “%(policy)s” has been deleted.") % {"policy": quickstart.POLICY})
        else:
            self.say(_("There is no policy “%(policy)s”.") % {"policy": quickstart.POLICY})
        return DONE
