"""Floor 0: values and rules; pure, no I/O, clock or randomness."""
