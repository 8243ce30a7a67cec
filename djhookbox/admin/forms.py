"""Forms that are not plain model forms."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import strict_json
from ..decisions.trials import OPERATIONS, UnknownUser, user_named
from ..exceptions import HookboxError
from ..models import NAME_LENGTH
from ..policy.rules import Operation
from ..users.identity import ANONYMOUS_PREFIX
from ..vouching import validate_channel
from ..wire import values
from .pages import pretty_json


class JSONWidget(AdminTextareaWidget):
    """A text area for JSON, written from left to right in every language."""

    def __init__(self, attrs: dict[str, object] | None = None) -> None:
        attributes = {
            "rows": 4,
            "class": "vLargeTextField hookbox-json",
            "dir": "ltr",
            "spellcheck": "false",
            # admin/json.js shows these below the text area.
            "data-json-valid": gettext_lazy("This is JSON, %s bytes."),
            "data-json-invalid": gettext_lazy("This is not JSON."),
        }
        super().__init__(attrs={**attributes, **(attrs or {})})


class PlainJSONField(forms.JSONField):
    """A JSON field that accepts every JSON value and explains what is wrong with a text.

    Django's own field treats `null`, `{}` and `[]` as empty.
    """

    empty_values = [""]
    widget = JSONWidget

    def to_python(self, value: object) -> Any:
        """Parse the text.

        Raises:
            ValidationError: It is not JSON; the message says where.

        """
        if self.disabled or not isinstance(value, str):
            return value
        text = value.strip()
        if not text:
            if self.required:
                raise ValidationError(self.error_messages["required"], code="required")
            return self.initial() if callable(self.initial) else self.initial
        try:
            return values.loads(text)
        except ValueError as error:
            raise ValidationError(self._explain(text, error), code="invalid") from error

    def validate(self, value: object) -> None:
        """Accept the value: `to_python` has already rejected a missing one."""

    def bound_data(self, data: object, initial: object) -> object:
        """Show what was typed unchanged; parsing it again might fail again."""
        typed = isinstance(data, str) and not self.disabled
        return InvalidJSONInput(data) if typed else super().bound_data(data, initial)

    def prepare_value(self, value: object) -> Any:
        """Format the value for display."""
        if isinstance(value, InvalidJSONInput):  # what the user has typed
            return value
        return pretty_json(value, self.encoder)

    @staticmethod
    def _explain(text: str, error: ValueError) -> str:
        message = strict_json.explain(error)
        if not isinstance(error, json.JSONDecodeError):
            return message
        if text[0] not in '{["':
            message += " " + _("Strings need double quotes: %(example)s.") % {
                "example": json.dumps(text.splitlines()[0][:40].strip("'“”"), ensure_ascii=False)
            }
        elif "'" in text:
            message += " " + _("JSON uses double quotes, not single quotes.")
        return message


class PayloadForm(forms.Form):
    """The message to publish."""

    payload = PlainJSONField(
        initial=InvalidJSONInput(""),  # an empty area, where None would be shown as null
        label=gettext_lazy("Payload"),
        widget=JSONWidget(attrs={"rows": 10}),
        help_text=gettext_lazy('Any JSON value, such as {"text": "hello"} or "hello".'),
    )


class ChannelField(forms.CharField):
    """The name of one channel, with completion from live channels if scripts may run."""

    def __init__(self, **kwargs: Any) -> None:
        attrs = {
            "class": "vLargeTextField hookbox-channel",
            "dir": "ltr",
            "autocomplete": "off",
        }
        options = {
            "label": gettext_lazy("Channel"),
            "max_length": NAME_LENGTH,
            "strip": False,
            "widget": AdminTextInputWidget(attrs={**attrs, "spellcheck": "false"}),
            "help_text": gettext_lazy(
                "The exact name of the channel, such as /news/today/; patterns are not accepted."
            ),
        }
        super().__init__(**{**options, **kwargs})

    def clean(self, value: object) -> str:
        """Reject an invalid channel name.

        Raises:
            ValidationError: With the reason.

        """
        channel: str = super().clean(value)
        if channel:
            try:
                validate_channel(channel)
            except HookboxError as error:
                raise ValidationError(str(error), code=error.code) from error
        return channel


class PublishForm(PayloadForm):
    """The message to publish, and its channel."""

    channel = ChannelField()
    field_order = ["channel", "payload"]


class TryForm(forms.Form):
    """A user, an operation and a channel to try."""

    user = forms.CharField(
        label=gettext_lazy("User"),
        required=False,
        max_length=NAME_LENGTH,
        strip=False,
        widget=AdminTextInputWidget(
            attrs={"class": "vTextField hookbox-user", "autocomplete": "off"}
        ),
        help_text=gettext_lazy("The user's name. Leave it empty for an anonymous visitor."),
    )
    channel = ChannelField()
    operation = forms.ChoiceField(
        label=gettext_lazy("Operation"),
        choices=[(operation.value, operation.label) for operation in OPERATIONS],
        initial=OPERATIONS[0].value,
        required=False,
    )
    payload = PlainJSONField(
        label=gettext_lazy("Payload"),
        required=False,
        initial=InvalidJSONInput(""),
        widget=JSONWidget(attrs={"rows": 2}),
        help_text=gettext_lazy("The message, for handlers that look at it."),
    )

    def clean_user(self) -> str:
        """Strip spaces around a name, except for names of anonymous visitors."""
        name: str = self.cleaned_data["user"]
        return name if name.startswith(ANONYMOUS_PREFIX) else name.strip()

    def clean_operation(self) -> Operation:
        """Default to the first operation."""
        return Operation(self.cleaned_data["operation"] or OPERATIONS[0])

    def clean(self) -> dict[str, object]:
        """Look the user up."""
        values = super().clean() or self.cleaned_data
        if "user" in values:
            try:
                values["account"] = user_named(values["user"])
            except UnknownUser as error:
                self.add_error("user", str(error))
        if values.get("payload") == "":
            values["payload"] = None
        return values


class ImportForm(forms.Form):
    """A file with policies, uploaded or pasted."""

    #: Bytes; what is confirmed comes back in a field, which Django limits to a little more.
    LARGEST = 1_000_000

    file = forms.FileField(
        label=gettext_lazy("File"),
        required=False,
        help_text=gettext_lazy("A file exported here or written by dumpdata."),
    )
    text = forms.CharField(
        label=gettext_lazy("Or paste its text"),
        required=False,
        widget=JSONWidget(attrs={"rows": 8}),
    )

    def clean(self) -> dict[str, object]:
        """Read the upload or the pasted text.

        Raises:
            ValidationError: Both are missing, or the file is not text.

        """
        values = super().clean() or self.cleaned_data
        if "file" not in values or "text" not in values:
            return values
        upload, text = values["file"], values["text"]
        if upload is None and not text.strip():
            raise ValidationError(_("Choose a file or paste its text."), code="required")
        if (upload.size if upload is not None else len(text.encode())) > self.LARGEST:
            raise ValidationError(_("This is larger than a megabyte."), code="size")
        if upload is not None:
            try:
                values["text"] = upload.read().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise ValidationError(_("This file is not UTF-8 text."), code="text") from error
        return values
