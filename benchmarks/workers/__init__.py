"""Programs that do one piece of work each time they read a line; each may run in an environment of its own."""
