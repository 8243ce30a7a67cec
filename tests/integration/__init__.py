"""The real server process against a real Django site, spoken to by a real WebSocket client."""
