"""SQL storage of the queue: SQLite for one machine, PostgreSQL for several."""
