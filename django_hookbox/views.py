"""The dict in which 2011's code finds the signals: `views.signals["connect"]`."""

from djhookbox.signals import signals

__all__ = ["signals"]
