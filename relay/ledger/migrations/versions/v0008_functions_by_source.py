"""Stores the newest import by source. A migration is not updated when schema.py changes.

The other columns stay: a process of the previous version may still read and write them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("functions", sa.Column("sources", sa.JSON()))
