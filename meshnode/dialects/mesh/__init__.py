"""The native wire between two meshnodes; see SPEC.md."""
