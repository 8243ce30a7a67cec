"""The REST API that the site calls."""
