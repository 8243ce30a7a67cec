"""The Hookbox process: an aiohttp server that knows nothing of Django."""
