"""What the server costs, measured against a bare aiohttp server in the same run."""
