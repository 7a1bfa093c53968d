"""Alembic's way in: relay/ledger/upgrade.py hands it a connection inside a transaction."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # Alembic takes SQLite's DDL for untransactional; with BEGIN IMMEDIATE it is not.
    transactional_ddl=True,
)
context.run_migrations()
