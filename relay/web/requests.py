"""The parameters and bodies that the API and the pages accept; unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from relay.model import Kind, State

ShortText = Annotated[str, Field(max_length=1024, pattern=r"^[^\x00]*$")]
Policy = Literal["skip", "fail", "update", "rename"]


class RequestModel(BaseModel):
    """Base of all request models; refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class PageQuery(RequestModel):
    """The position in a list (`cursor`) and the number of items."""

    limit: int = Field(50, ge=1, le=200)
    cursor: ShortText | None = None


class DeliveriesQuery(PageQuery):
    """Filters of the API list. `key` is a glob; `since` and `until` refer to the creation time."""

    state: State | None = None
    kind: Kind | None = None
    source: ShortText | None = None
    route: ShortText | None = None
    bucket: ShortText | None = None
    key: ShortText | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class DeliveriesFilter(PageQuery):
    """Filters of the page, which lists only imports by default."""

    state: State | None = None
    kind: Literal["import", "message", "all"] = "import"
    source: ShortText | None = None
    key: ShortText | None = None


class RetriggerBody(RequestModel):
    """Options that replace those of the previous run."""

    on_conflict: Policy | None = None


class SubmissionBody(RequestModel):
    """An object to import without a notification."""

    source: ShortText = Field(min_length=1)
    bucket: ShortText = Field(min_length=1)
    key: ShortText = Field(min_length=1)
    version: ShortText | None = None
    dry_run: bool = False
