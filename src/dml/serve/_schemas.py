"""Request and response bodies, as OpenAPI describes them."""

import math
from typing import Any, Literal

from fastapi.responses import Response
from pydantic import BaseModel, Field

from dml.serve._holder import HIDDEN_FIELDS, Snapshot

FILTER = 'such as label in ["cat", "dog"] and not price > 10'
MAX_NEIGHBOURS = 1000


class Neighbour(BaseModel, extra="allow"):
    """One item near a query, with its own fields."""

    id: str
    similarity: float
    same: bool | None = Field(description="whether it reaches the calibrated threshold")
    label: str | None


class SearchResponse(BaseModel):
    """The neighbours of a query, nearest first."""

    results: list[Neighbour]
    threshold: float | None
    crop: str | None = Field(None, description="what the encoder saw, as a data URI")
    seconds: float


class VectorQuery(BaseModel):
    """A search by a vector of the index's encoder."""

    vector: list[float]
    k: int = Field(10, ge=1, le=MAX_NEIGHBOURS, description="number of neighbours")
    where: str | None = Field(None, description=FILTER)


class Item(BaseModel, extra="allow"):
    """One item, with its own fields."""

    id: str
    label: str | None


class ItemsResponse(BaseModel):
    """Some items, and how many there are."""

    items: list[Item]
    total: int


class IndexInfo(BaseModel):
    """Information for the search page."""

    items: int
    labels: list[str]
    fields: list[str]
    threshold: float | None
    max_upload_bytes: int


class Health(BaseModel):
    """The health of the service.

    `stale`: the index has changed and reloading it failed; the service uses the one loaded before,
    and its log gives the reason.
    """

    status: Literal["ok", "stale"]
    items: int


class Login(BaseModel):
    """The token, from the search page."""

    token: str


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


PROBLEMS = {
    400: "malformed filter, vector or body",
    401: "missing or invalid token",
    403: "cross-origin request not allowed",
    404: "no such item",
    408: "timeout while receiving the request",
    413: "too large, too many pixels, or decoding takes too long",
    415: "not an image that can be read",
    421: "Host header not allowed",
    503: "too many requests, or the index is unavailable; try again later",
}
COMMON_PROBLEMS = (401, 403, 421, 503)  # of every route


def problems(*statuses: int) -> dict:
    """Returns OpenAPI's description of error responses."""
    return {status: {"model": Problem, "description": PROBLEMS[status]} for status in statuses}


def json_response(body: BaseModel) -> Response:
    """Returns a response with a body as JSON."""
    return Response(body.model_dump_json(), media_type="application/json")


def to_item(item: dict) -> Item:
    """Returns an item of the index without its hidden fields."""
    return Item(**_visible(item))


def to_response(
    snapshot: Snapshot, neighbours: list[tuple[float, dict]], crop: str | None, seconds: float
) -> SearchResponse:
    """Returns the response to a search.

    Args:
        snapshot: The snapshot that was searched.
        neighbours: Similarities and items, nearest first.
        crop: The encoder's input, as a data URI; or None.
        seconds: Duration of the search.
    """
    threshold = snapshot.threshold
    results = [
        {
            **_visible(item),
            "similarity": round(similarity, 6),
            "same": None if threshold is None else similarity >= threshold,
        }
        for similarity, item in neighbours
    ]
    body = {"results": results, "threshold": threshold, "crop": crop, "seconds": seconds}
    return SearchResponse.model_validate(body)


def _visible(item: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields that responses contain; infinity, which JSON lacks, becomes text."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in item.items()
        if name not in HIDDEN_FIELDS
    }
