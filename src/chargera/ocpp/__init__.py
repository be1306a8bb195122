"""The authenticated channel to stations: server, framing, validation, one mapping a version."""
