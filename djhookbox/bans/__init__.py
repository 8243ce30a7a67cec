"""Bans: users, sessions and addresses that an operator has refused."""
