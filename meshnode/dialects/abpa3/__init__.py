"""abpa3's pairing API; see SPEC.md."""
