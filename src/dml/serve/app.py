"""The application: index, searcher, routes and limits put together."""

import asyncio
import contextlib
import os

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from dml.errors import DataError
from dml.images import ImageError
from dml.serve._batching import Overloaded
from dml.serve._holder import IndexHolder
from dml.serve._limits import RETRY, Limits
from dml.serve._metrics import MeasureRequests, Metrics
from dml.serve._routes import (
    add_item_routes,
    add_page_routes,
    add_search_routes,
    add_status_routes,
)
from dml.serve._searcher import Searcher
from dml.serve._uploads import UploadError
from dml.serve.options import ServiceOptions

_MAX_UPLOADS = 16  # of the largest size that may be received at the same time


def create_app(
    location: str | os.PathLike[str],
    options: ServiceOptions | None = None,
    bundle: str | os.PathLike[str] | None = None,
) -> FastAPI:
    """Returns the FastAPI application that serves an index.

    Args:
        location: The index, as `dml.index.open_index` takes it.
        options: `ServiceOptions`; the defaults if None.
        bundle: The encoder's bundle; None for the index's own.

    Returns:
        The application, which any ASGI server runs.

    Raises:
        MissingDataError: There is no index.
        DataError: It is damaged.

    Example:
        >>> options = dml.serve.ServiceOptions(token="a long random text", max_pending=64)
        >>> app = dml.serve.create_app("photos.index", options)  # doctest: +SKIP
    """
    options = options or ServiceOptions()
    holder = IndexHolder(location, bundle, options.threads_per_batch)
    metrics = Metrics(lambda: holder.count)
    searcher = Searcher(options, metrics.batches.observe)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with searcher:
            watching = asyncio.create_task(holder.watch())
            yield
            watching.cancel()

    app = FastAPI(
        title="dml", summary="Search an index of images", lifespan=lifespan, docs_url=None,
        redoc_url=None,
    )  # fmt: skip
    _add_error_handlers(app)
    app.add_middleware(
        Limits,
        allowed_hosts=options.allowed_hosts,
        token=options.token,
        max_upload_bytes=options.max_upload_bytes,
        max_received_bytes=_MAX_UPLOADS * options.max_upload_bytes,
        timeout=options.timeout,
    )
    app.add_middleware(MeasureRequests, metrics=metrics)  # around the limits: it counts refusals
    add_search_routes(app, holder, searcher)
    add_item_routes(app, holder, searcher)
    add_status_routes(app, holder, searcher, metrics, options.max_upload_bytes)
    add_page_routes(app, options)
    return app


def _add_error_handlers(app):
    """Turns exceptions into responses."""

    def respond(status, text=None, headers=None):
        return lambda request, error: JSONResponse(
            {"detail": text or str(error)}, getattr(error, "status", status), headers
        )

    def invalid(request, error):  # without the input, which JSON may not represent
        errors = [{name: one[name] for name in ("type", "loc", "msg")} for one in error.errors()]
        return JSONResponse({"detail": errors}, 422)

    overloaded = respond(503, "too many requests; try again later", RETRY)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Overloaded, overloaded)
    app.add_exception_handler(TimeoutError, overloaded)
    app.add_exception_handler(UploadError, respond(415))
    app.add_exception_handler(ImageError, respond(415))
    app.add_exception_handler(ValueError, respond(400))
    app.add_exception_handler(KeyError, respond(404, "no such item"))
    unavailable = respond(503, "the index is unavailable; try again later", {"Retry-After": "10"})
    app.add_exception_handler(DataError, unavailable)  # of the index, not of the request
    app.add_exception_handler(OSError, unavailable)
