"""The authenticated channel: WebSocket server, framing, validation and one mapping module a version."""
