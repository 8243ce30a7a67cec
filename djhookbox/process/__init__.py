"""The Hookbox process as seen from Django: start it, stop it, describe it."""
