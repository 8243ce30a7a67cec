"""Try a channel: whether a user may do something, who decides it, and why others did not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.helpers import AdminForm
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import URLPattern
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...decisions.decide import Decision
from ...decisions.trials import Trial, attempt
from ...models import ChannelPolicy
from ...policy.rules import Operation
from ...policy.steps import Outcome, Step
from ...users.accounts import User, usernames
from ..forms import TryForm
from ..pages import PageMixin, badge, grouped, link, module_script, pretty_json, route
from .needs import needs

#: Names that a completion offers at most.
OFFERED = 20

#: Policies whose pattern does not match that are shown at most.
SHOWN = 20


_FIELDSETS: list[tuple[object, dict[str, object]]] = [
    (None, {"fields": ["user", "channel", "operation"]}),
    (gettext_lazy("Payload"), {"fields": ["payload"], "classes": ["collapse"]}),
]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a trial and its answer."""

    title: str
    verdict: str
    steps: list[tuple[str, str]]
    #: The groups or the permission that are required, if a policy refused for lack of them.
    required: str


class PolicyTrials:
    """The page that answers “Why can't she join?”.

    Args:
        model_admin: The admin of policies that uses this.

    """

    def __init__(self, model_admin: PageMixin) -> None:
        self._admin = model_admin

    def urls(self) -> list[URLPattern]:
        """Return the routes of the page and of its completions."""
        return [
            route(self._admin, "try/", self.try_view, "try"),
            route(self._admin, "try/users/", self.users_view, "users"),
        ]

    def try_view(self, request: HttpRequest) -> HttpResponse:
        """Decide for the given user, channel and operation: `?user=…&channel=…&operation=…`.

        Raises:
            PermissionDenied: The user may not see policies.

        """
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        asked = "channel" in request.GET
        typed = request.GET.copy()
        typed.setdefault("payload", "")
        form = TryForm(typed if asked else None, initial=request.GET.dict())
        if self._may_see_users(request):
            form.fields["user"].widget.attrs["data-completions"] = self._admin.address("users")
        trial = None
        if asked and form.is_valid():
            values = form.cleaned_data
            trial = attempt(
                values["account"], values["channel"], values["operation"], values["payload"]
            )
        return self._admin.page(
            request,
            "try.html",
            _("Try a channel"),
            form=form,
            adminform=AdminForm(form, _FIELDSETS, {}),  # type: ignore[arg-type]
            media=self._admin.media + form.media + module_script("admin/completion", "admin/json"),
            trial=trial,
            **(self._answer(request, trial, form.cleaned_data["account"]) if trial else {}),
        )

    def users_view(self, request: HttpRequest) -> HttpResponse:
        """Complete a user name, for users who may see users.

        Raises:
            PermissionDenied: The user may not.

        """
        if not self._admin.has_view_permission(request) or not self._may_see_users(request):
            raise PermissionDenied
        begun = request.GET.get("q", "").replace("\0", "")
        model = get_user_model()
        field = model.USERNAME_FIELD
        found: Any = model._default_manager.filter(**{f"{field}__istartswith": begun})
        return JsonResponse({"names": usernames(found.order_by(field)[:OFFERED])})

    def _may_see_users(self, request: HttpRequest) -> bool:
        opts = get_user_model()._meta
        return request.user.has_perm(f"{opts.app_label}.view_{opts.model_name}")

    def _answer(self, request: HttpRequest, trial: Trial, account: User) -> dict[str, object]:
        named = {
            step.name
            for part in (trial.decision, trial.creation)
            if part
            for step in _folded(part.steps)
            if not isinstance(step, int) and step.kind == "policy"
        }
        rows = ChannelPolicy.objects.filter(name__in=[*named, *trial.disabled])
        policies = {policy.name: policy for policy in rows}
        keys = {name: policy.pk for name, policy in policies.items()}
        if trial.allowed:
            verdict = badge(_("Allowed"), "good")
        elif trial.decision.allowed:
            verdict = badge(_("Allowed in part"), "warning")
        else:
            verdict = badge(_("Refused"), "bad")
        sees = self._may_see_users(request)

        def part(title: str, decision: Decision, operation: Operation) -> Part:
            said = _("allowed") if decision.allowed else _("refused")
            required = needs(decision, operation, account, policies, may_see_groups=sees)
            return Part(title, said, self._steps(decision.steps, keys), required)

        parts = [part(str(trial.operation.label), trial.decision, trial.operation)]
        if trial.creation is not None:
            title = _("create the channel if it does not exist")
            parts.append(part(title, trial.creation, Operation.CREATE))
        return {
            "who": trial.user or _("an anonymous visitor"),
            "verdict": verdict,
            "parts": parts,
            "options": [
                (name, pretty_json(value)) for name, value in (trial.options or {}).items()
            ],
            "disabled": [self._policy(name, keys) for name in trial.disabled],
        }

    def _steps(self, steps: Iterable[Step], keys: dict[str, int]) -> list[tuple[str, str]]:
        written: list[tuple[str, str]] = []
        for step in _folded(steps):
            if isinstance(step, int):
                text = ngettext("%(count)s further policy", "%(count)s further policies", step)
                said = str(Step("", Outcome.NO_MATCH).said)
                written.append((text % {"count": grouped(step)}, said))
            elif step.kind == "policy":
                who = _("Policy %(name)s") % {"name": step.name}
                written.append((self._policy(step.name, keys, who), step.said))
            elif step.kind == "handler":
                written.append((_("Handler %(name)s") % {"name": step.name}, step.said))
            elif step.kind == "built-in":
                written.append((_("Built-in rule"), step.said))
            elif step.kind == "handlers":
                written.append((_("Handlers"), step.said))
            else:
                written.append((_("Result"), step.said))
        return written

    def _policy(self, name: str, keys: dict[str, int], text: str = "") -> str:
        if name not in keys:  # deleted a moment ago
            return text or name
        return link(self._admin.address("change", keys[name]), text or name)


def _folded(steps: Iterable[Step]) -> Iterator[Step | int]:
    """Yield the steps; of many policies whose pattern does not match, the number of the rest."""
    skipped = 0
    for step in steps:
        if step.kind == "policy" and step.outcome is Outcome.NO_MATCH:
            skipped += 1
            if skipped <= SHOWN:
                yield step
            continue
        if skipped > SHOWN:
            yield skipped - SHOWN
        skipped = 0
        yield step
    if skipped > SHOWN:
        yield skipped - SHOWN
