"""What holds for all tests of the server's modules."""

from __future__ import annotations

from hypothesis import settings

# A busy machine must not fail a test that is right.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
