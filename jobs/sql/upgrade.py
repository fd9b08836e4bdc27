"""Make a queue's tables; or bring those of an older version up to date, with Alembic."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, inspect, select

from jobs.errors import QueueError
from jobs.sql.schema import SCHEMA_VERSION, metadata, schema_version

_MIGRATIONS: Final = Path(__file__).with_name("migrations")


def upgrade(connection: Connection, shown: str) -> None:
    """Bring the queue to :data:`~jobs.sql.schema.SCHEMA_VERSION`, all or nothing.

    Args:
        connection: in a transaction that nobody else can write beside.
        shown: how messages name the queue.

    Raises:
        QueueError: if the database is none of this program, or of a version that is not upgraded:
            a newer one, or one from before the first release.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        metadata.create_all(connection)
        schema_version.create(connection)
        connection.execute(insert(schema_version).values(version_num=SCHEMA_VERSION))
        return
    if schema_version.name not in tables:
        raise QueueError(f"{shown} is a database, but no queue of this program")
    found = connection.scalar(select(schema_version.c.version_num))
    if found == SCHEMA_VERSION:
        return
    # Only an old queue waits for Alembic to be imported.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found not in known:
        raise QueueError(
            f"the queue {shown} has schema version {found}; this program uses {SCHEMA_VERSION} "
            f"and upgrades {min(known)} and later"
        )
    command.upgrade(config, "head")
