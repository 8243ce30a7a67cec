"""The admin pages of channel policies."""
