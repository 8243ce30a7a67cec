"""What stands in for the other side of each conversation, in tests and in benchmarks alike.

Benchmarks and tests import from here. Nothing in here imports from `bench`, from a test, or from
the server, so that every process of a test or a benchmark can use it.
"""
