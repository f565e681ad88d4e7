"""The owner's API under /api/v1/; see SPEC.md."""
