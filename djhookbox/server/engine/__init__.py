"""Engines store publications beyond the life of a channel."""
