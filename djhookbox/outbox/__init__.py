"""Durable channels: publications in the site's database, numbered after commit, and pulled."""
