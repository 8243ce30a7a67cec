"""Who may do what: the one decision function and everything that asks it."""
