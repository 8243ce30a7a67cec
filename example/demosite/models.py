"""The models of the example site's two short pages."""

from django.db import models


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
