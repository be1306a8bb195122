"""PostgreSQL: the server, the migrations, all SQL and the unit of work."""
