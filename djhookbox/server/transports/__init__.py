"""The shells that move bytes between clients and the server."""
