"""Measure the capacity of this machine, with a temporary server: `manage.py hookbox bench`."""
