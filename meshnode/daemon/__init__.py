"""Floor 5: the object graph, start and stop."""
