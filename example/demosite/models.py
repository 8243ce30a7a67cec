"""The models of the example site's short pages."""

from django.db import models

import djhookbox


class Task(models.Model):
    """An item of the shared list (the page with htmx)."""

    text = models.CharField(max_length=200)
    done = models.BooleanField(default=False)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.text


class Dish(models.Model):
    """A choice of the poll and its number of votes (the page with Alpine)."""

    name = models.CharField(max_length=50, unique=True)
    votes = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.name


@djhookbox.notify(channel=lambda order: "/orders/", fields=["what", "step"])
class Order(models.Model):
    """An order. Each change is published in the transaction that makes it."""

    STEPS = ("placed", "paid", "packed", "delivered")

    what = models.CharField(max_length=100)
    step = models.CharField(max_length=20, default=STEPS[0])

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.what} ({self.step})"

    def advance(self) -> None:
        """Go to the next step, if there is one."""
        at = self.STEPS.index(self.step)
        if at + 1 < len(self.STEPS):
            self.step = self.STEPS[at + 1]
            self.save(update_fields=["step"])
