"""The catalog's migrations, taken one by one, down as well as up."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect
from sqlmodel import SQLModel

import llmvault.catalog

_PLACE = Path(llmvault.catalog.__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_PLACE))
    return config


def revisions() -> list[str]:
    """Return all revisions, the first one first."""
    walked = ScriptDirectory.from_config(_config()).walk_revisions()
    return [script.revision for script in walked][::-1]


def go(engine: Engine, revision: str, *, down: bool) -> None:
    """Take the database to a revision."""
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)


def differences(engine: Engine) -> list[object]:
    """Return how the tables differ from what the queries expect."""
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), SQLModel.metadata))


def tables(engine: Engine) -> set[str]:
    """Return the names of the tables, Alembic's own left out."""
    return set(inspect(engine).get_table_names()) - {"alembic_version"}


def down_and_up(engine: Engine) -> None:
    """Take an up-to-date catalog down step by step, then up again; both must arrive."""
    steps = revisions()
    for revision in [*steps[-2::-1], "base"]:
        go(engine, revision, down=True)
    assert tables(engine) == set()
    for revision in steps:
        go(engine, revision, down=False)
    assert differences(engine) == []
