"""Answer complete, plain requests from one buffer; aiohttp gets all others, from their first byte.

These are WebSocket handshakes and REST calls, which are nearly all requests that the server gets.
Parsing HTTP in general takes longer than everything else that they need.
"""
