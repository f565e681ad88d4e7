"""mylzip's pairing API; see SPEC.md."""
