"""aisopod's pairing API; see SPEC.md."""
