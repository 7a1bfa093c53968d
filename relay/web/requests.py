"""What the API takes, as pydantic models: what they do not know is refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from relay.model import Kind, State

Clean = Annotated[str, Field(max_length=1024, pattern=r"^[^\x00]*$")]
Policy = Literal["skip", "fail", "update", "rename"]


class Asked(BaseModel):
    """What a caller sends: what we do not know, we refuse."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class PageQuery(Asked):
    """Where in a list to go on, and how far."""

    limit: int = Field(50, ge=1, le=200)
    cursor: Clean | None = None


class DeliveriesQuery(PageQuery):
    """The filters of the list of deliveries; `key` is a glob, `since` and `until` mean creation."""

    state: State | None = None
    kind: Kind | None = None
    source: Clean | None = None
    route: Clean | None = None
    bucket: Clean | None = None
    key: Clean | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class DeliveriesFilter(PageQuery):
    """The filters of the page of deliveries. Messages are told in their delivery's story."""

    state: State | None = None
    kind: Literal["import", "message", "all"] = "import"
    source: Clean | None = None
    key: Clean | None = None


class RetriggerBody(Asked):
    """How the new run differs from the last; nothing: not at all."""

    on_conflict: Policy | None = None


class SubmissionBody(Asked):
    """An object that nobody announced."""

    source: Clean = Field(min_length=1)
    bucket: Clean = Field(min_length=1)
    key: Clean = Field(min_length=1)
    version: Clean | None = None
    dry_run: bool = False
