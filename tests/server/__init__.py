"""The server without Django: its core, protocols, transports and calls to the site."""
