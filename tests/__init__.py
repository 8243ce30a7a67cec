"""Tests of django-hookbox. Stand-ins for both processes are in `stand_ins`."""
