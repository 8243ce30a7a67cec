"""Revocations: stored in the transaction that ends a right, and pulled by every process."""
