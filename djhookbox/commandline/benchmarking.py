"""`manage.py hookbox bench`: the capacity of this machine."""

from __future__ import annotations

from argparse import ArgumentParser

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..benchmark import measuring
from ..benchmark.measuring import Rate, Results
from .base import DONE, Mistake, Options, Subcommand

#: Bounds of the options: (smallest, largest).
CONNECTIONS, SECONDS, SIZE = (1, measuring.MOST), (0.1, 60.0), (16, 65_536)


class Bench(Subcommand):
    """Measures a temporary server on this machine."""

    name = "bench"
    help = (
        "Measures what this machine carries: connections, publications and deliveries per second, "
        "and memory per connection. It starts a temporary server on a free port of the loopback "
        "interface, which allows everything. Neither the Hookbox process nor the site nor its "
        "database is used. The clients run on this machine too, so run it when nothing else does."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add how many, how long and how large."""
        parser.add_argument(
            "--connections", type=int, default=1000, metavar="N",
            help=f"How many connections to open, up to {CONNECTIONS[1]} (default: 1000).",
        )  # fmt: skip
        parser.add_argument(
            "--seconds", type=float, default=3.0, metavar="S",
            help="How long to publish in each of the measurements (default: 3).",
        )  # fmt: skip
        parser.add_argument(
            "--size", type=int, default=128, metavar="BYTES",
            help="The size of a message (default: 128).",
        )  # fmt: skip

    def run(self, options: Options) -> int:
        """Measure, and print the results."""
        for name, bounds in (("connections", CONNECTIONS), ("seconds", SECONDS), ("size", SIZE)):
            smallest, largest = bounds
            if not smallest <= options[name] <= largest:
                raise Mistake(
                    _("--%(name)s is %(value)s; it must be between %(smallest)s and %(largest)s.")
                    % {
                        "name": name,
                        "value": options[name],
                        "smallest": smallest,
                        "largest": largest,
                    },
                    code="malformed",
                )
        quiet = bool(options["json"])
        results = measuring.measure(
            options["connections"], options["seconds"], options["size"],
            (lambda text: None) if quiet else self._tell,
        )  # fmt: skip
        if quiet:
            self.print_json(results.as_json())
        else:
            self._show(results)
        return DONE

    def _tell(self, sentence: str) -> None:
        self.say(sentence)
        self.stdout.flush()

    def _show(self, results: Results) -> None:
        each, total = results.memory_per_connection, results.memory
        self.say()
        self.table(
            [
                (_("Measured"), _("Per second"), _("Server's CPU")),
                (_("Connections, each with a subscription"), *_cells(results.connections)),
                (_("Publications"), *_cells(results.publications)),
                (
                    ngettext(
                        "Deliveries to %(count)d connection",
                        "Deliveries to %(count)d connections",
                        results.connections.count,
                    )
                    % {"count": results.connections.count},
                    *_cells(results.deliveries),
                ),
            ]
        )
        self.say()
        self.say(
            _("A single message reached all connections after %(ms)s ms.")
            % {"ms": number_format(1000 * results.delay, 1)}
        )
        if each is not None and total is not None:
            self.say(
                _("Memory of the server: %(each)s KiB per connection, %(total)s MiB in total.")
                % {
                    "each": number_format(each / 1024, 1),
                    "total": number_format(total / 1_048_576, 0),
                }
            )
        self.say(
            _(
                "The site was not involved. It decides about each connection and subscription, so "
                "its speed also limits how many users can connect per second."
            )
        )


def _cells(rate: Rate) -> tuple[str, str]:
    return number_format(rate.per_second, 0, force_grouping=True), f"{100 * rate.server_cpu:.0f} %"
