"""Alembic's entry point; relay/ledger/upgrade.py passes a connection inside a transaction."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # Alembic assumes that SQLite's DDL is not transactional; with BEGIN IMMEDIATE it is.
    transactional_ddl=True,
)
context.run_migrations()
