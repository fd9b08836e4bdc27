"""Runs the migrations on the connection that :func:`jobs.queue.sql.database.upgrade` has opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
