"""The audit log: its models, how rows are written, reported and pruned."""
