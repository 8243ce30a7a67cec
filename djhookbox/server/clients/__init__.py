"""Connections and what clients do with them."""
