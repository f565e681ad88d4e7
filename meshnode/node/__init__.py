"""Floor 2: the use cases, one verb a file."""
