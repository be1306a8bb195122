"""The command line: clients of the REST API, one module a noun."""
