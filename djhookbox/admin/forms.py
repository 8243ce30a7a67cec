"""The forms that are not simply a model's."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..exceptions import HookboxError
from ..publishing import validate_channel


class JSONWidget(AdminTextareaWidget):
    """A text area for JSON, which runs from left to right in every language."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        ours = {
            "rows": 4,
            "class": "vLargeTextField hookbox-json",
            "dir": "ltr",
            "spellcheck": "false",
        }
        super().__init__(attrs={**ours, **(attrs or {})})


class PlainJSONField(forms.JSONField):
    """A JSON field that takes every JSON value and says what is wrong with a text.

    Django's own takes `null`, `{}` and `[]` for "nothing was entered".
    """

    empty_values = [""]
    widget = JSONWidget

    def to_python(self, value: Any) -> Any:
        """Read the text.

        Raises:
            ValidationError: It is not JSON; the message names the place.

        """
        if self.disabled or not isinstance(value, str):
            return value
        text = value.strip()
        if not text:
            if self.required:
                raise ValidationError(self.error_messages["required"], code="required")
            return self.initial() if callable(self.initial) else self.initial
        try:
            return json.loads(text, cls=self.decoder, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            raise ValidationError(self._explain(text, error), code="invalid") from error
        except RecursionError as error:
            raise ValidationError(_("This is nested too deeply."), code="invalid") from error

    def validate(self, value: Any) -> None:
        """Leave it at that: `to_python` has refused what is missing."""

    def prepare_value(self, value: Any) -> Any:
        """Write the value for people."""
        if isinstance(value, InvalidJSONInput):  # what the user has typed
            return value
        return json.dumps(value, indent=2, ensure_ascii=False, cls=self.encoder)

    @staticmethod
    def _explain(text: str, error: json.JSONDecodeError) -> str:
        message = _("This is not JSON: %(problem)s in line %(line)d, column %(column)d.") % {
            "problem": error.msg,
            "line": error.lineno,
            "column": error.colno,
        }
        if text[0] not in '{["':
            message += " " + _("A text needs double quotes: %(example)s.") % {
                "example": json.dumps(text.splitlines()[0][:40].strip("'“”"), ensure_ascii=False)
            }
        elif "'" in text:
            message += " " + _("JSON has double quotes, not single ones.")
        return message


def _refuse_constant(name: str) -> NoReturn:
    raise ValidationError(_("JSON has no %(name)s.") % {"name": name}, code="invalid")


class PayloadForm(forms.Form):
    """What is to be published."""

    payload = PlainJSONField(
        initial=InvalidJSONInput(""),  # an empty area, where None would be shown as null
        label=gettext_lazy("Payload"),
        widget=JSONWidget(attrs={"rows": 10}),
        help_text=gettext_lazy('Any JSON value, such as {"text": "hello"} or "hello".'),
    )


class PublishForm(PayloadForm):
    """What is to be published, and where."""

    channel = forms.CharField(
        label=gettext_lazy("Channel"),
        max_length=255,
        strip=False,
        widget=AdminTextInputWidget(
            attrs={"class": "vLargeTextField hookbox-channel", "dir": "ltr"}
        ),
        help_text=gettext_lazy("The channel's name, such as /news/today/; no pattern."),
    )
    field_order = ["channel", "payload"]

    def clean_channel(self) -> str:
        """Refuse what is no channel's name."""
        channel: str = self.cleaned_data["channel"]
        try:
            validate_channel(channel)
        except HookboxError as error:
            raise ValidationError(str(error), code=error.code) from error
        return channel
