"""Publish to durable channels in transactions, some of which are rolled back, until killed.

`python -m tests.integration.durable_publisher NAME SEED CHANNEL…`. Each transaction also adds a
row: what is committed is what has its row.
"""

from __future__ import annotations

import os
import random
import sys
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.integration.settings")
django.setup()

from django.contrib.auth.models import Group  # noqa: E402
from django.db import Error, connection, transaction  # noqa: E402

import djhookbox  # noqa: E402
from djhookbox.exceptions import HookboxError  # noqa: E402


class Undo(Exception):
    """Roll back."""


def publish(name: str, number: int, chance: random.Random, channels: list[str]) -> None:
    """Publish some messages in a transaction with a row of its own."""
    mark = f"{name}.{number}"
    count = chance.choice((1, 1, 2, 5, 30))
    with transaction.atomic():
        Group.objects.create(name=mark)
        for index in range(count):
            try:
                with transaction.atomic():
                    undone = chance.random() < 0.1
                    payload = {"by": name, "tx": number, "n": index, "undone": undone}
                    djhookbox.publish(chance.choice(channels), payload)
                    if undone:
                        raise Undo
            except Undo:
                pass
            time.sleep(chance.choice((0, 0, 0.002, 0.005)))
        if chance.random() < 0.2:
            raise Undo


def main(name: str, seed: str, *channels: str) -> None:
    """Publish until killed; errors of a busy database are the caller's own."""
    chance = random.Random(seed)
    taken = Group.objects.filter(name__startswith=f"{name}.").values_list("name", flat=True)
    number = max((int(mark.partition(".")[2]) for mark in taken), default=0)
    while True:
        number += 1
        try:
            publish(name, number, chance, list(channels))
        except Undo:
            continue
        except (Error, HookboxError) as error:
            print(f"busy: {error}", flush=True)
            connection.close()
        time.sleep(chance.uniform(0, 0.05))


if __name__ == "__main__":
    main(*sys.argv[1:])
