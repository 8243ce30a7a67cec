"""Export and import policies, with a preview of an import."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence

from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...commits import writing
from ...decisions import files
from ...decisions.files import Change, PolicyFileError
from ...models import ChannelPolicy
from ...notices import Told, listening
from ..forms import ImportForm
from ..pages import PageMixin, pretty_json, route
from ..times import today

logger = logging.getLogger("djhookbox")


class PolicyFiles:
    """Exports policies to a file and imports them from one.

    Args:
        model_admin: The admin of policies that uses this.
        say_who_follows: Reports what a change means for live channels.

    """

    def __init__(
        self, model_admin: PageMixin, say_who_follows: Callable[[HttpRequest, Sequence[Told]], None]
    ) -> None:
        self._admin = model_admin
        self._say_who_follows = say_who_follows

    def urls(self) -> list[URLPattern]:
        """Return the routes of both pages."""
        return [
            route(self._admin, "export/", self.export_view, "export"),
            route(self._admin, "import/", self.import_view, "import"),
        ]

    def may_import(self, request: HttpRequest) -> bool:
        """Return whether the user may create and change policies; an import may do both."""
        owner = self._admin
        return owner.has_add_permission(request) and owner.has_change_permission(request)

    # ---- export ------------------------------------------------------------------------------

    def export_view(self, request: HttpRequest) -> HttpResponse:
        """Export all policies to a file.

        Raises:
            PermissionDenied: The user may not see policies.

        """
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        return _file(ChannelPolicy.objects.order_by("order", "pk"))

    # ---- import ------------------------------------------------------------------------------

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Read a file, show what it would change, and change it after confirmation.

        Raises:
            PermissionDenied: The user may not create and change policies.

        """
        if not self.may_import(request):
            raise PermissionDenied
        posted = request.method == "POST"
        form = ImportForm(request.POST if posted else None, request.FILES if posted else None)
        if posted and form.is_valid():
            text = form.cleaned_data["text"]
            try:
                changes = files.plan(text)
            except PolicyFileError as error:
                for problem in error.problems:
                    form.add_error(None, problem)
            else:
                return self._planned(request, text, changes)
        return self._admin.page(
            request,
            "import.html",
            _("Import policies"),
            form=form,
            adminform=AdminForm(form, [(None, {"fields": list(form.fields)})], {}),  # type: ignore[arg-type]
            media=self._admin.media + form.media,
        )

    def _planned(self, request: HttpRequest, text: str, changes: Sequence[Change]) -> HttpResponse:
        """Show the changes, or make them if they are the ones that were confirmed."""
        digest = _digest(changes)
        seen = request.POST.get("seen")
        if seen == digest:
            try:
                return self._import(request, changes)
            except PolicyFileError as error:
                self._admin.message_user(request, str(error), messages.ERROR)
                return HttpResponseRedirect(self._admin.address("import"))
            except DatabaseError:  # it is read-only, or another user was faster
                logger.exception("Could not import policies.")
                warning = _("The database rejected the changes. Nothing was imported.")
                self._admin.message_user(request, warning, messages.WARNING)
                return HttpResponseRedirect(self._admin.address("import"))
        if seen is not None:
            warning = _(
                "The policies have changed in the meantime. Please review the changes again."
            )
            self._admin.message_user(request, warning, messages.WARNING)
        busy = [change for change in changes if not change.is_idle]
        return self._admin.page(
            request,
            "import_plan.html",
            _("Import policies"),
            created=[change.policy for change in busy if change.is_new],
            changed=[
                (change.policy, [self._words(name, *both) for name, both in change.changed.items()])
                for change in busy
                if not change.is_new
            ],
            idle=len(changes) - len(busy),
            text=text,
            digest=digest,
            button=ngettext("Import %(count)d policy", "Import %(count)d policies", len(busy))
            % {"count": len(busy)}
            if busy
            else "",
        )

    def _import(self, request: HttpRequest, changes: Sequence[Change]) -> HttpResponse:
        new = [change for change in changes if change.is_new]
        edited = [change for change in changes if not change.is_new and not change.is_idle]
        with listening() as told, writing(ChannelPolicy):
            files.apply(changes)
            for change in new:
                self._admin.log_addition(request, change.policy, [{"added": {}}])
            for change in edited:
                labels = [str(_label(name)) for name in change.changed]
                self._admin.log_change(request, change.policy, [{"changed": {"fields": labels}}])
        text = _("Imported: %(created)d created, %(changed)d changed.")
        words = {"created": len(new), "changed": len(edited)}
        self._admin.message_user(request, text % words, messages.SUCCESS)
        self._say_who_follows(request, told)
        return HttpResponseRedirect(self._admin.address("changelist"))

    def _words(self, name: str, before: object, after: object) -> tuple[str, str, str]:
        return str(_label(name)), _written(before), _written(after)


@admin.action(permissions=["view"], description=gettext_lazy("Export as JSON"))
def export_selected(
    model_admin: PageMixin, request: HttpRequest, queryset: QuerySet[ChannelPolicy]
) -> HttpResponse:
    """Export the selected policies."""
    return _file(queryset.order_by("order", "pk"))


def _file(policies: QuerySet[ChannelPolicy]) -> HttpResponse:
    name = f"channel-policies-{today():%Y-%m-%d}.json"
    response = HttpResponse(files.export(policies), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _label(name: str) -> object:
    return capfirst(ChannelPolicy._meta.get_field(name).verbose_name)  # type: ignore[union-attr]


def _written(value: object) -> str:
    return value if isinstance(value, str) else pretty_json(value)


def _digest(changes: Sequence[Change]) -> str:
    """Return a digest that identifies a plan."""
    shown = [
        (change.policy.name, change.is_new, sorted(change.changed.items())) for change in changes
    ]
    return hashlib.sha256(repr(shown).encode()).hexdigest()
