"""Bytes to values and back, without I/O: RTJP frames, WebSocket framing, close codes."""
