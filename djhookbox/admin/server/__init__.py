"""The server page and the pages behind it."""
