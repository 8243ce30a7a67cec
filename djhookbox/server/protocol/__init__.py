"""Convert bytes to values and back without I/O: RTJP frames, WebSocket framing, CSP."""
