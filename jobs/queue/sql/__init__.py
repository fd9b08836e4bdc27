"""The queue in SQL: SQLite on one machine, PostgreSQL for many."""
