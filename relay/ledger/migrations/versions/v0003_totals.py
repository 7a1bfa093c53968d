"""Counts records by triggers. A migration is not updated when schema.py changes.

Triggers count in the transaction that writes. The totals are exact even after a crash, and metrics
read them at a cost that does not grow with the history.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

SHARDS = 64
FINAL = "('succeeded', 'failed', 'skipped')"
KEY = ("what", "first", "second", "third", "shard")

LABELS = {
    "notifications": "'notifications', {row}.source, {row}.verdict, ''",
    "events": "'events', {row}.source, '', ''",
    "attempts": "'attempts', {row}.kind, {row}.destination, {row}.outcome",
    "deliveries": "'deliveries', {row}.kind, {row}.state, ''",
}
COUNTED = {
    "attempts": "{row}.outcome IS NOT NULL",
    # Only final states: pending and running deliveries are few and change all the time.
    "deliveries": f"{{row}}.state IN {FINAL}",
}
CHANGES = {
    "notifications": ("verdict", "OLD.verdict <> NEW.verdict"),
    "attempts": ("outcome", "OLD.outcome IS NULL AND NEW.outcome IS NOT NULL"),
    "deliveries": (
        "state",
        f"OLD.state <> NEW.state AND (OLD.state IN {FINAL} OR NEW.state IN {FINAL})",
    ),
}
"""The column whose update changes a total, and the condition."""

MAY_GO = ("deliveries",)
"""Tables whose deleted rows are subtracted; the other totals count all rows ever stored."""


def upgrade() -> None:
    _rebuild()
    make = _sqlite_trigger if op.get_bind().dialect.name == "sqlite" else _postgresql_trigger
    for table in LABELS:
        make(table, "INSERT", "NEW", 1)
        if table in CHANGES:
            column, condition = CHANGES[table]
            before, after = _row(table, "OLD", -1), _row(table, "NEW", 1)
            _row_trigger(table, f"UPDATE OF {column}", condition, f"{before}; {after};")
        if table in MAY_GO:
            make(table, "DELETE", "OLD", -1)


def _sqlite_trigger(table: str, when: str, row: str, number: int) -> None:
    _row_trigger(table, when, _counted(table, row), f"{_row(table, row, number)};")


def _row_trigger(table: str, when: str, condition: str, body: str) -> None:
    name = f"totals_{table}_{when.partition(' ')[0].lower()}"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {name} AFTER {when} ON {table} WHEN {condition} BEGIN {body} END"
        )
        return
    _function(name, body)
    op.execute(
        f"CREATE TRIGGER {name} AFTER {when} ON {table} FOR EACH ROW WHEN ({condition}) "
        f"EXECUTE FUNCTION {name}()"
    )


def _postgresql_trigger(table: str, when: str, row: str, number: int) -> None:
    """Create a statement-level trigger.

    A transaction that updates a total ten thousand times would leave as many row versions, and each
    update would read them all.
    """
    name = f"totals_{table}_{when.lower()}"
    labels = LABELS[table].format(row="these")
    rows = f"FROM these WHERE {_counted(table, 'these')} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
    _function(name, _add(f"{labels}, {_shard()}, {number} * count(*) {rows}") + ";")
    op.execute(
        f"CREATE TRIGGER {name} AFTER {when} ON {table} REFERENCING {row} TABLE AS these "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
    )


def _function(name: str, body: str) -> None:
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {body} RETURN NULL; END $$"
    )


def _row(table: str, row: str, number: int) -> str:
    labels = LABELS[table].format(row=row)
    return _add(f"{labels}, {_shard()}, {number} WHERE {_counted(table, row)}")


def _add(selected: str) -> str:
    return (
        f"INSERT INTO totals (what, first, second, third, shard, number) SELECT {selected} "
        "ON CONFLICT (what, first, second, third, shard) "
        "DO UPDATE SET number = totals.number + excluded.number"
    )


def _counted(table: str, row: str) -> str:
    return COUNTED.get(table, "true").format(row=row)


def _shard() -> str:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    return "0" if is_sqlite else f"pg_backend_pid() % {SHARDS}"


def _rebuild() -> None:
    """Create the table with shards, and copy the totals and the counts of existing rows."""
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.rename_table("totals", "gone")
    op.create_table(
        "totals",
        *(sa.Column(name, bytewise, nullable=False) for name in KEY[:-1]),
        sa.Column("shard", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*KEY, name="totals_by_shard"),
    )
    there = [
        f"SELECT {labels.format(row=table)}, 1 FROM {table} WHERE {_counted(table, table)}"  # noqa: S608
        for table, labels in LABELS.items()
    ]
    every = " UNION ALL ".join(["SELECT what, first, second, third, number FROM gone", *there])
    # A CTE names the columns, which not all databases do for the other selects.
    op.execute(
        f"WITH every (what, first, second, third, number) AS ({every}) "  # noqa: S608
        "INSERT INTO totals (what, first, second, third, shard, number) "
        "SELECT what, first, second, third, 0, sum(number) FROM every "
        "GROUP BY what, first, second, third"
    )
    op.drop_table("gone")
