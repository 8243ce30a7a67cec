"""Channels, users, subscriptions, history, presence and state: calls in, effects out.

Plain Python without I/O, without a clock (time is an argument) and without asyncio.
"""
