"""What can be done: one function per use case, and the ports that they need."""
