"""salita's pairing API; see SPEC.md."""
