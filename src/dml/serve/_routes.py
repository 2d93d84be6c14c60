"""The routes: each checks its parameters, calls the searcher or the index, and responds."""

import hmac
import time

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse, Response

from dml import _pages
from dml.errors import PackageError
from dml.images import ImageError
from dml.serve._holder import IndexHolder
from dml.serve._limits import COOKIE
from dml.serve._metrics import Metrics
from dml.serve._schemas import (
    COMMON_PROBLEMS,
    FILTER,
    MAX_NEIGHBOURS,
    Health,
    IndexInfo,
    Item,
    ItemsResponse,
    Login,
    SearchResponse,
    VectorQuery,
    json_response,
    problems,
    to_item,
    to_response,
)
from dml.serve._searcher import Searcher
from dml.serve._uploads import REQUEST_BODY, UploadError, read_upload
from dml.serve.options import ServiceOptions

MAX_LABELS = 1000  # the most that the page offers
K = Query(10, ge=1, le=MAX_NEIGHBOURS, description="number of neighbours")
WHERE = Query(None, description=FILTER)


def add_search_routes(app: FastAPI, holder: IndexHolder, searcher: Searcher) -> None:
    """Adds searches by upload, by item and by vector."""

    def respond(snapshot, found, started):
        seconds = time.perf_counter() - started
        return json_response(to_response(snapshot, found.neighbours, found.crop, seconds))

    @app.post(
        "/search",
        response_model=SearchResponse,
        openapi_extra={"requestBody": REQUEST_BODY},
        responses=problems(400, 408, 413, 415, *COMMON_PROBLEMS),
    )
    async def search_by_upload(
        request: Request, k: int = K, where: str | None = WHERE, crop: bool = False
    ):
        """Searches by an image: the body itself, or the field `image` of a form."""
        started = time.perf_counter()
        data = await read_upload(request)
        snapshot = holder.snapshot
        found = await searcher.by_image(snapshot, data, k, where, crop)
        return respond(snapshot, found, started)

    @app.get(
        "/search", response_model=SearchResponse, responses=problems(400, 404, *COMMON_PROBLEMS)
    )
    async def search_by_id(id: str, k: int = K, where: str | None = WHERE, crop: bool = False):
        """Searches by an item of the index, which is not among the results."""
        started, snapshot = time.perf_counter(), holder.snapshot
        found = await searcher.by_item(snapshot, id, k, where, crop)
        return respond(snapshot, found, started)

    @app.post(
        "/search/vector",
        response_model=SearchResponse,
        responses=problems(400, 408, 413, *COMMON_PROBLEMS),
    )
    async def search_by_vector(query: VectorQuery):
        """Searches by a vector of the index's encoder, which is normalized to unit length."""
        started, snapshot = time.perf_counter(), holder.snapshot
        vector = _unit_vector(query.vector, snapshot.index.dimension)
        found = await searcher.by_vector(snapshot, vector, query.k, query.where)
        return respond(snapshot, found, started)


def add_item_routes(app: FastAPI, holder: IndexHolder, searcher: Searcher) -> None:
    """Adds the items of the index and their images."""

    @app.get("/items", response_model=ItemsResponse, responses=problems(400, *COMMON_PROBLEMS))
    async def list_items(
        offset: int = Query(0, ge=0),
        limit: int = Query(50, ge=1, le=1000),
        where: str | None = WHERE,
    ):
        """Lists items, page by page."""
        snapshot = holder.snapshot
        snapshot.check_filter(where)
        items, total = await searcher.run(snapshot.index.page, where, offset, limit)
        return json_response(ItemsResponse(items=[to_item(one) for one in items], total=total))

    @app.get("/samples", response_model=ItemsResponse, responses=problems(400, *COMMON_PROBLEMS))
    async def sample_items(
        limit: int = Query(24, ge=1, le=1000),
        seed: int = Query(0, ge=0, lt=2**32, description="another seed draws other items"),
        where: str | None = WHERE,
    ):
        """Draws items at random, one of each label before a second of any."""
        snapshot = holder.snapshot
        snapshot.check_filter(where)
        items, total = await searcher.run(snapshot.index.sample, where, limit, seed)
        return json_response(ItemsResponse(items=[to_item(one) for one in items], total=total))

    @app.get("/item", response_model=Item, responses=problems(404, *COMMON_PROBLEMS))
    async def get_item(id: str):
        """Returns one item."""
        return json_response(to_item(await searcher.run(holder.snapshot.index.item, id)))

    jpeg = {200: {"content": {"image/jpeg": {}}, "description": "a small JPEG"}}

    @app.get(
        "/image",
        response_class=Response,
        responses=jpeg | problems(404, *COMMON_PROBLEMS),
    )
    async def get_image(id: str):
        """Returns an item's image as a small JPEG; its path comes from the index alone."""
        try:
            data = await searcher.thumbnail(holder.snapshot, id)
        except (ImageError, PackageError, UploadError):
            raise HTTPException(404, "the image is missing or can't be read") from None
        return Response(
            data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"}
        )


def add_status_routes(
    app: FastAPI, holder: IndexHolder, searcher: Searcher, metrics: Metrics, max_upload_bytes: int
) -> None:
    """Adds health, metrics and information for the search page."""

    @app.get("/about", response_model=IndexInfo, responses=problems(*COMMON_PROBLEMS))
    async def about():
        """Returns information for the search page."""
        snapshot = holder.snapshot
        labels = await searcher.run(snapshot.index.labels, MAX_LABELS)
        return json_response(
            IndexInfo(
                items=holder.count,
                labels=labels,
                fields=snapshot.fields,
                threshold=snapshot.threshold,
                max_upload_bytes=max_upload_bytes,
            )
        )

    @app.get("/health", response_model=Health, responses=problems(403, 421))
    async def health():
        """Returns whether the service is up and uses the index in its current state."""
        status = "ok" if holder.error is None else "stale"
        return json_response(Health(status=status, items=holder.count))

    text = {200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"}}

    @app.get("/metrics", response_class=Response, responses=text | problems(401, 403, 421))
    async def get_metrics():
        """Returns metrics for Prometheus."""
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4")


def add_page_routes(app: FastAPI, options: ServiceOptions) -> None:
    """Adds the search page and its login."""
    files = {
        "/": (_pages.render("service.html"), "text/html"),
        "/page.css": (_pages.read("style.css"), "text/css"),
        "/page.js": (_pages.read("service.js"), "text/javascript"),
    }
    for route, (text, kind) in files.items():

        async def page(text=text, kind=kind):
            return Response(text, media_type=kind, headers={"Cache-Control": "no-cache"})

        app.add_api_route(route, page, include_in_schema=False)

    @app.post("/login", responses=problems(400, 401, 403, 408, 413, 421, 503))
    async def login(given: Login, request: Request):
        """Stores the token in the search page's cookie."""
        token = options.token or ""
        if not hmac.compare_digest(given.token.encode("utf-8", "replace"), token.encode()):
            raise HTTPException(401, "invalid token")
        response = JSONResponse({})
        # Of a proxy with TLS; who forges it only keeps the cookie from plain HTTP.
        forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
        secure = "https" in (request.url.scheme, forwarded)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure)
        return response


def _unit_vector(values, dimension):
    """Returns numbers as a float32 (D,) vector of unit length."""
    vector = np.array(values, "float64")
    largest = np.abs(vector).max(initial=0)
    if vector.shape != (dimension,) or not 0 < largest < float("inf"):
        raise HTTPException(400, f"vector must be {dimension} finite numbers, not all 0")
    vector = vector / largest
    return (vector / np.linalg.norm(vector)).astype("float32")
