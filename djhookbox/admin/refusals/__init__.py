"""The admin page of all refusals: of connections, subscriptions, channels and publications."""
