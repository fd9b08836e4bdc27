"""Run the migrations on the connection opened by :func:`jobs.queue.sql.database.upgrade`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
