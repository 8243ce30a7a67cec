"""The page that publishes a message: shows its audience, and confirms a large one."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import AdminForm
from django.core.cache import cache
from django.forms import Media
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

import djhookbox

from ...conf import settings
from ...exceptions import ChannelNameError, HookboxError, HookboxRefused
from ...models import Publication, Publishing
from ...policy.rules import Audience
from ...vouching import validate_channel
from .. import live
from ..forms import PayloadForm, PublishForm
from ..live import Target
from ..pages import PageMixin, module_script, pretty_json

logger = logging.getLogger("djhookbox")

#: Seconds for which a submitted form is remembered, so that submitting it twice sends it once.
REMEMBERED = 600

#: Characters of a message that the confirmation shows at most.
QUOTED = 2000

#: Errors that are reported individually.
TOLD = 10


class MessageMixin(PageMixin):
    """A form for a message to one channel or several."""

    def message_page(
        self,
        request: HttpRequest,
        names: Sequence[str],
        *,
        original: Publication | None = None,
        **extra: object,
    ) -> HttpResponse:
        """Show the form, and publish on POST.

        Args:
            request: The request; POST publishes.
            names: The channels.
            original: The message that is published again.
            extra: More context for the template.

        """
        several = len(names) > 1
        posted = request.POST if request.method == "POST" else None
        form = self._form(posted, names, original)
        targets, problem = self.targets(names)
        valid = posted is not None and form.is_valid() and self._names_fit(form, names)
        if valid and posted is not None and "check" not in posted:
            reached = sum(target.connections or 0 for target in targets)
            if reached > settings.confirm_recipients and "confirmed" not in posted:
                return self._question(request, form, targets, reached, original)
            answer = self._publish(request, form, names, original)
            if answer is not None:
                return answer
        failed = original is not None and original.status == Publication.Status.FAILED
        title, button = _("Publish a message"), _many(len(names)) if several else _("Publish")
        if original is not None:
            title = _("Try again") if failed else _("Publish again")
            button = _("Publish again")
        return self.page(
            request,
            "publishing.html",
            title,
            form=form,
            adminform=AdminForm(form, [(None, {"fields": list(form.fields)})], {}),  # type: ignore[arg-type]
            media=self.media
            + Media(css={"all": ["djhookbox/admin/policies.css"]})
            + form.media
            + module_script("admin/completion", "admin/json", "admin/publishing"),
            failure=original.error if original is not None and failed else "",
            targets=targets if several else (),
            audience=audience_text(targets) if names else "",
            vouching=vouching_text(names[0]) if len(names) == 1 else "",
            problem=problem,
            hidden=[("token", request.POST.get("token") or secrets.token_urlsafe(9))]
            + [("channel", name) for name in names if several],
            checked="check" in request.POST and valid,
            button=button,
            cancel=self._history() if self._sees_history(request) else "",
            **extra,
        )

    def posted_names(self, request: HttpRequest) -> list[str]:
        """Return the channels that a form names, without duplicates."""
        return list(dict.fromkeys(filter(None, request.POST.getlist("channel"))))

    def targets(self, names: Sequence[str]) -> tuple[list[Target], HookboxError | None]:
        """Return who would receive a message now, and why this is unknown if it is."""
        return live.audiences(names) if names else ([], None)

    # ---- parts -------------------------------------------------------------------------------

    def _form(self, posted: Any, names: Sequence[str], original: Publication | None) -> PayloadForm:
        initial = {} if original is None else {"payload": original.payload}
        if len(names) > 1:
            return PayloadForm(posted, initial=initial)
        form = PublishForm(posted, initial={"channel": names[0] if names else "", **initial})
        if self.admin_site.is_registered(Publishing):
            attributes = form.fields["channel"].widget.attrs
            attributes["data-completions"] = self.address("channels", model="publishing")
            attributes["data-audience"] = self.address("audience", model="publishing")
        return form

    def _names_fit(self, form: PayloadForm, names: Sequence[str]) -> bool:
        """Reject invalid channel names; a single channel's field has already reported its own."""
        if len(names) > live.LISTED:
            text = _("At most %(limit)d channels at once.") % {"limit": live.LISTED}
            form.add_error(None, text)
        for name in names:
            try:
                validate_channel(name)
            except ChannelNameError as error:
                form.add_error(None, f"{name}: {error}")
        return form.is_valid()

    def _question(
        self,
        request: HttpRequest,
        form: PayloadForm,
        targets: Sequence[Target],
        reached: int,
        original: Publication | None,
    ) -> HttpResponse:
        """Ask to confirm publishing to many connections."""
        button = ngettext(
            "Publish to %(count)d connection", "Publish to %(count)d connections", reached
        ) % {"count": reached}
        cancel = self.address("changelist")
        if original is not None:
            cancel = self.address("change", original.pk)
        elif len(targets) == 1:
            cancel = self.address("changelist", channel=targets[0].name)
        return self.page(
            request,
            "confirm.html",
            _("%(button)s?") % {"button": button},
            sentences=[_("A published message cannot be recalled.")],
            items=[f"{target.name}: {target.connections}" for target in targets[:10]],
            more=max(0, len(targets) - 10),
            quoted=_beginning(pretty_json(form.cleaned_data["payload"])),
            hidden=[
                *(("channel", target.name) for target in targets),
                ("payload", request.POST.get("payload", "")),
                ("token", request.POST.get("token", "")),
                ("confirmed", "1"),
            ],
            multipart=True,
            button=button,
            cancel=cancel,
        )

    def _publish(
        self,
        request: HttpRequest,
        form: PayloadForm,
        names: Sequence[str],
        original: Publication | None,
    ) -> HttpResponse | None:
        """Publish once per form; return None to show the form again."""
        if not self.is_first(request):
            return HttpResponseRedirect(self._after(request, names))
        reached: int | None = 0
        sent, refusals, failure = 0, [], None
        for name in names:
            try:
                count = djhookbox.publish(
                    name,
                    form.cleaned_data["payload"],
                    user=request.user,
                    source=Publication.Source.ADMIN,
                )
            except HookboxRefused as error:
                refusals.append((name, error))
            except HookboxError as error:
                failure = error  # the others would fail too, each after its own timeout
                break
            else:
                reached = None if count is None or reached is None else reached + count
                sent += 1
                self.enter_published(request, name, count, original)
        if not sent:
            _forget(_key(request))
            for name, refusal in refusals[:TOLD]:
                form.add_error(None, f"{name}: {refusal}")
            if failure is not None:
                form.add_error(None, str(failure))
            return None
        self._say(request, names, reached, sent, refusals, failure)
        return HttpResponseRedirect(self._after(request, names))

    def is_first(self, request: HttpRequest) -> bool:
        """Return whether a form is submitted for the first time, and report if it is not."""
        if not request.POST.get("token") or _first(_key(request)):
            return True
        text = _("This message has already been published. It was not sent again.")
        self.message_user(request, text, messages.INFO)
        return False

    def enter_published(
        self, request: HttpRequest, name: str, count: int | None, original: Publication | None
    ) -> None:
        """Record it in the admin's history, in English, as Django stores its own."""
        about, text = original, "Published again"
        if about is None:
            about = Publication(channel=name, status=Publication.Status.SENT)
            text = "Published"
        elif about.channel != name:
            text += f" to {name}"
        text += "." if count is None else f", reached {count} connections."
        self.enter_about(request, about, text)

    def _say(
        self,
        request: HttpRequest,
        names: Sequence[str],
        reached: int | None,
        sent: int,
        refusals: Sequence[tuple[str, HookboxError]],
        failure: HookboxError | None,
    ) -> None:
        text = reached_text(names[0], reached) if len(names) == 1 else reached_texts(sent, reached)
        self.message_user(request, text, messages.SUCCESS)
        for name, refusal in refusals[:TOLD]:
            words = {"channel": name, "problem": refusal}
            text = _("%(channel)s: refused. %(problem)s") % words
            self.message_user(request, text, messages.ERROR)
        if len(refusals) > TOLD:
            count = len(refusals) - TOLD
            text = ngettext("%(count)d more was refused.", "%(count)d more were refused.", count)
            self.message_user(request, text % {"count": count}, messages.ERROR)
        if failure is not None:
            text = _("%(problem)s The remaining channels were not tried.")
            self.message_user(request, text % {"problem": failure}, messages.ERROR)

    def _sees_history(self, request: HttpRequest) -> bool:
        may = request.user.has_perm("djhookbox.view_publication")
        return bool(
            (may or request.user.has_perm("djhookbox.change_publication")) and self._history()
        )

    def _history(self) -> str:
        try:
            return self.address("changelist", model="publication")
        except NoReverseMatch:
            return ""  # this admin site may not have the page

    def _after(self, request: HttpRequest, names: Sequence[str]) -> str:
        """Redirect to the history, where the message is the first entry."""
        if self._sees_history(request):
            return self._history()
        if len(names) == 1:
            return self.address("changelist", channel=names[0])
        return self.address("changelist")


def _beginning(text: str) -> str:
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}…"


def reached_text(channel: str, reached: int | None) -> str:
    """Describe how many connections a message reached, if the server counted them."""
    if reached is None:
        return _("Published to %(channel)s.") % {"channel": channel}
    if not reached:
        return _("Published to %(channel)s; nobody is currently subscribed.") % {"channel": channel}
    return ngettext(
        "Published to %(channel)s; it reached %(count)d connection.",
        "Published to %(channel)s; it reached %(count)d connections.",
        reached,
    ) % {"channel": channel, "count": reached}


def reached_texts(channels: int, reached: int | None) -> str:
    """Describe how many connections a message to several channels reached."""
    where = ngettext(
        "Published to %(count)d channel.", "Published to %(count)d channels.", channels
    )
    if reached is None:
        return where % {"count": channels}
    connections = ngettext(
        "It reached %(count)d connection.", "It reached %(count)d connections.", reached
    )
    return f"{where % {'count': channels}} {connections % {'count': reached}}"


def _many(channels: int) -> str:
    return ngettext("Publish to %(count)d channel", "Publish to %(count)d channels", channels) % {
        "count": channels
    }


def audience_text(targets: Sequence[Target]) -> str:
    """Describe who would receive a message now."""
    if any(target.connections is None for target in targets):
        return _("The number of recipients is not known.")
    count = sum(target.connections or 0 for target in targets)
    if not count:
        return _("Nobody is currently subscribed.")
    return ngettext(
        "%(count)d connection will receive it.", "%(count)d connections will receive it.", count
    ) % {"count": count}


def vouching_text(name: str) -> str:
    """Describe which policy opens a channel; handlers are not called for a preview."""
    policy = live.policy_of(name)
    if policy is None:
        return _(
            "No policy matches this channel: the message is refused unless a handler "
            "allows the channel."
        )
    if policy.reserved:
        return _("This name is reserved; the message is refused.")
    if policy.create == Audience.HANDLERS:
        return _("Policy “%(name)s” leaves the decision to handlers.") % {"name": policy.name}
    return _("Policy “%(name)s” decides for this channel.") % {"name": policy.name}


def _key(request: HttpRequest) -> str:
    return f"djhookbox:published:{request.user.pk}:{request.POST.get('token')}"


def _first(key: str) -> bool:
    """Remember that a form was submitted; return whether this is the first time."""
    try:
        return bool(cache.add(key, 1, REMEMBERED))
    except Exception:  # whatever the project's cache raises: the message is more important
        logger.exception(
            "The cache is not working, so a form that is submitted twice is not detected."
        )
        return True


def _forget(key: str) -> None:
    try:
        cache.delete(key)
    except Exception:
        logger.exception("The cache is not working.")
