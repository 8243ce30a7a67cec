"""Transports move bytes between clients and the server."""
