"""Shapes that the routes share: bodies, pages and what the OpenAPI document says of answers."""

from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict

PAGE_MAX = 1_000
"""Most rows in one answer; `next` leads on."""

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]

_T = TypeVar("_T")


class Shape(BaseModel):
    """A body: every member that is not known is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Page(BaseModel, Generic[_T]):
    """One page of a list; `next` is the cursor of the page after, null at the end."""

    items: list[_T]
    next: str | int | None


class ErrorMembers(BaseModel):
    """What is wrong, where, and what to do."""

    code: str
    message: str
    field: str | None
    remedy: str


class Problem(BaseModel):
    """Every error of the API."""

    error: ErrorMembers


Answers = dict[int | str, dict[str, Any]]


def answers(model: Any, status: int = 200, description: str = "done") -> Answers:
    """Return what the document says of a route: its answer and its errors."""
    return {
        status: {"model": model, "description": description},
        "4XX": {"model": Problem, "description": "refused"},
        503: {"model": Problem, "description": "could not be determined now"},
    }


def pages(row: Any) -> Answers:
    """Return what the document says of a route that lists `row`s."""
    return answers(Page[row])


def content(media_type: str, description: str) -> Answers:
    """Return what the document says of a route that answers with something else than JSON."""
    return answers(None, description=description) | {
        200: {"content": {media_type: {}}, "description": description}
    }
