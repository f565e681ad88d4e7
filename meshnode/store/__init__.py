"""Floor 3: SQLite tables and the files of the data directory."""
