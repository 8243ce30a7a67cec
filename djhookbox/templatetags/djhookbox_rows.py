"""A last row for the admin's list of policies: what happens if none of them matches."""

from __future__ import annotations

from collections.abc import Sequence

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token
from django.template.context import Context
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


class LastRow(template.Node):
    """Renders a table and adds a row at the end.

    The admin's template for result lists has no block for one, and a copy of the template would be
    outdated by the next release of Django.
    """

    def __init__(self, nodelist: NodeList, results: FilterExpression, text: FilterExpression):
        self.nodelist = nodelist
        self._results = results
        self._text = text

    def render(self, context: Context) -> SafeString:
        """Render the table."""
        html = self.nodelist.render(context)
        results: Sequence[Sequence[object]] = self._results.resolve(context) or ()
        text = self._text.resolve(context)
        head, end, tail = html.rpartition("</tbody>")
        if not results or not text or not end:
            return html
        row = format_html(
            '<tr class="hookbox-last"><td colspan="{}">{}</td></tr>', len(results[0]), text
        )
        # The rendered table is safe, and so is the row.
        return mark_safe(f"{head}{conditional_escape(row)}{end}{tail}")  # noqa: S308


@register.tag
def last_row(parser: Parser, token: Token) -> LastRow:
    """Add a row to a table: `{% last_row results text %}…{% end_last_row %}`.

    Raises:
        TemplateSyntaxError: The tag does not have two arguments.

    """
    bits = token.split_contents()
    if len(bits) != 3:
        raise template.TemplateSyntaxError(f"{bits[0]} requires results and a text.")
    nodelist = parser.parse(("end_last_row",))
    parser.delete_first_token()
    return LastRow(nodelist, parser.compile_filter(bits[1]), parser.compile_filter(bits[2]))
