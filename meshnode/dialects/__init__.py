"""Floor 4: the wires we speak, one folder each; they do not know each other."""
