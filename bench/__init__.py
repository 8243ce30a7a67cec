"""Benchmarks of the server, compared with a bare aiohttp server in the same run."""
