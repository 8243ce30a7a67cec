"""Measure what this machine carries, with a temporary server: `manage.py hookbox bench`."""
