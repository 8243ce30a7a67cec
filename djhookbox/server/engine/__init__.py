"""Where publications are kept beyond the life of a channel."""
