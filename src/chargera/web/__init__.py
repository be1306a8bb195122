"""Pages, REST and live events: calls app and nothing beside it."""
