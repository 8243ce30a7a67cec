"""Calls to the Django site: webhooks, authorization, events, rechecks."""
