"""The application: search, items, images, health, metrics and the page."""

import asyncio
import base64
import contextlib
import hmac
import logging
import math
import os
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Literal, NamedTuple

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, Field

from dml.encoding.onnx_encoder import OnnxEncoder
from dml.images import ImageError, ImageRef
from dml.images._decoding import decode_image
from dml.images._resizing import square
from dml.images._thumbnails import jpeg, shrunk
from dml.index import Index, open_index
from dml.index.where import check_filter
from dml.serve.batching import Batcher, Busy
from dml.serve.decoding import Decoder
from dml.serve.limits import COOKIE, Limits
from dml.serve.uploads import BODY, UploadError, check_header, is_quick, uploaded

HIDDEN = ("path",)  # fields of items that answers do not show and filters can't ask about
FILTER = 'such as label in ["cat", "dog"] and not price > 10'
PROBLEMS = {
    400: "a filter, a vector or a body that can't be read",
    401: "a token is needed, or this is not the token",
    403: "a page of another site may not ask this service",
    404: "no such item",
    408: "the request took too long to arrive",
    413: "too large, of too many pixels, or too long to decode",
    415: "not an image that can be read",
    421: "this service has another name",
    503: "busy, or the index does not answer: try again",
}
COMMON = (401, 403, 421, 503)  # of every request
LABELS = 1000  # named to the page
RELOAD = 2.0  # seconds between looks at whether the index has changed
LONGEST_PAUSE = 60.0  # between looks at one that can't be taken up
LOG = logging.getLogger("dml.serve")


@dataclass(frozen=True)
class ServiceOptions:
    """What a service allows.

    Args:
        token: What requests must bring; None for nothing.
        hosts: Names by which it may be called; None for any.
        most_bytes: Of an upload.
        most_pixels: Of an image.
        most_waiting: Requests that may wait for the encoder; others are told to come again (503).
        batch_size: Images embedded together; on processors, larger batches are slower.
        seconds: That receiving a request may take, and that answering it may.
        threads: That decode, embed and search, each its own batch.
        decoders: Processes that decode what may take long: images of other formats than JPEG and
            PNG, of many pixels, and of many scans.
        decode_seconds: That decoding one of these may take.
    """

    token: str | None = None
    hosts: tuple | None = None
    most_bytes: int = 16 * 2**20
    most_pixels: int = 50_000_000
    most_waiting: int = 128
    batch_size: int = 8
    seconds: float = 20.0
    threads: int = 3
    decoders: int = 2
    decode_seconds: float = 10.0

    @property
    def processors(self):
        """Processors that one batch uses: its thread's, and those that no thread has.

        Batches that share processors would wait for one another in each layer of the network.
        """
        return max(1, (os.cpu_count() or 1) - self.threads + 1)


@dataclass(frozen=True, eq=False)
class State:
    """An index and the encoder that it was built with: what one answer is made of.

    Args:
        index: `dml.index.Index`.
        encoder: `OnnxEncoder`.
    """

    index: Index
    encoder: OnnxEncoder

    @property
    def threshold(self):
        """The calibrated one; None where the encoder has none."""
        if not self.encoder.thresholds:
            return None
        return self.encoder.calibrated_threshold().similarity

    @property
    def prepare(self):
        """From an image to what the encoder wants."""
        wanted = self.encoder.preparation
        return partial(square, side=wanted.resize_side, aspect=wanted.aspect)

    @property
    def fields(self):
        """Names of the items' fields that answers show."""
        return [name for name in self.index.fields if name not in HIDDEN]

    def check(self, where):
        """Raises ValueError where a filter is none, or of a field that answers do not show."""
        if where is not None:
            check_filter(where, self.fields)

    def cut(self, seen):
        """Returns the part of a prepared image that the network sees."""
        wanted = self.encoder.preparation
        first = (wanted.resize_side - wanted.input_size) // 2
        last = first + wanted.input_size
        return seen[first:last, first:last]


class Upload(NamedTuple):
    """An image to search with.

    Args:
        image: Its bytes, as they came; or, decoded and prepared, uint8 (S, S, 3).
        k: Neighbours wanted; None for its vector alone.
        crop: Whether to return what the encoder saw.
        state: `State` to search in.
    """

    image: bytes | np.ndarray
    k: int | None
    crop: bool
    state: State


class Question(NamedTuple):
    """A vector to search with.

    Args:
        vector: Float32 (D,), of unit length.
        k: Neighbours wanted.
        index: What to search in.
    """

    vector: np.ndarray
    k: int
    index: Index


class Neighbour(BaseModel, extra="allow"):
    """One item near a query, with its own fields."""

    id: str
    similarity: float
    same: bool | None = Field(description="whether it passes the calibrated threshold")
    label: str | None


class Found(BaseModel):
    """What a search found, nearest first."""

    results: list[Neighbour]
    threshold: float | None
    crop: str | None = Field(None, description="what the encoder saw, as a data URI")
    seconds: float


class VectorQuery(BaseModel):
    """A search by a vector of the encoder's."""

    vector: list[float]
    k: int = Field(10, ge=1, le=1000, description="neighbours wanted")
    where: str | None = Field(None, description=FILTER)


class Item(BaseModel, extra="allow"):
    """One item, with its own fields."""

    id: str
    label: str | None


class Items(BaseModel):
    """Some items, and how many there are."""

    items: list[Item]
    total: int


class About(BaseModel):
    """What the page needs to know."""

    items: int
    labels: list[str]
    fields: list[str]
    threshold: float | None
    most_bytes: int


class Health(BaseModel):
    """How the service is.

    `stale`: the index has changed and can't be taken up; the service goes on with the one at hand,
    and its log says why.
    """

    status: Literal["ok", "stale"]
    items: int


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


def problems(*statuses):
    """Returns what OpenAPI says of answers that refuse a request."""
    return {status: {"model": Problem, "description": PROBLEMS[status]} for status in statuses}


class Login(BaseModel):
    """The token, for the page."""

    token: str


class Service:
    """The state behind the application: the index, its encoder, threads, and processes that decode.

    Args:
        path: The index, as `dml.index.open_index` takes it.
        options: `ServiceOptions`.
        bundle: The encoder's; None for the index's own.
    """

    def __init__(self, path, options, bundle=None):
        self.options = options
        self.bundle = bundle
        index = open_index(path)
        self.state = State(index, index.encoder(bundle, options.processors))
        self.fault = None  # why the index can't be taken up as it is now
        self.threads = ThreadPoolExecutor(options.threads)
        self.busy = 0
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "dml_requests", "Requests", ["route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "dml_seconds", "Seconds to the answer", ["route"], registry=self.registry
        )
        self.batches = Histogram(
            "dml_batch_size", "Images in a batch", buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )  # fmt: skip
        self.items = Gauge("dml_items", "Items in the index", registry=self.registry)
        self.count = len(index)
        self.items.set_function(lambda: self.count)
        self.embedding = Batcher(
            self.embed, options.batch_size, options.most_waiting, options.threads,
            self.batches.observe,
        )  # fmt: skip
        self.searching = Batcher(self.search, most=options.most_waiting)
        self.decoders = [
            Decoder(options.most_pixels, options.decode_seconds) for _ in range(options.decoders)
        ]
        self.free = queue.SimpleQueue()
        for decoder in self.decoders:
            self.free.put(decoder)
        self.decoding = Batcher(self.decode_apart, 1, options.most_waiting, options.decoders)

    @contextlib.asynccontextmanager
    async def running(self):
        """Answers for as long as it is a context."""
        async with self.embedding, self.searching, self.decoding:
            following = asyncio.create_task(self.follow())
            yield
            following.cancel()
            for decoder in self.decoders:
                decoder.close()
        self.threads.shutdown(cancel_futures=True)

    async def run(self, work, *arguments):
        """Runs work in a thread; refuses it where too much is under way, stops waiting in time.

        Raises:
            Busy: Too much is under way.
            TimeoutError: It takes too long.
        """
        if self.busy >= self.options.most_waiting:
            raise Busy
        self.busy += 1
        try:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(self.options.seconds):
                return await loop.run_in_executor(self.threads, partial(work, *arguments))
        finally:
            self.busy -= 1

    def decode_apart(self, questions):
        """Answers questions, each the arguments of a `Decoder`."""
        decoder = self.free.get()
        try:
            return [decoder(*question) for question in questions]
        finally:
            self.free.put(decoder)

    async def picture(self, path, minimum_side, finish):
        """Returns what `finish` makes of the image of an item.

        Raises:
            ValueError: It can't be read.
        """
        reference = ImageRef.parse(path)
        data = await self.run(reference.read_bytes)
        if reference.container is None:  # drawn
            return await self.run(lambda: finish(reference.decode(data)))
        if is_quick(data):
            return await self.run(self.decode, data, path, minimum_side, finish)
        async with asyncio.timeout(self.options.seconds):
            return await self.decoding.ask((data, path, minimum_side, finish))

    def decode(self, data, name, minimum_side, finish):
        """Returns what `finish` makes of the image in some bytes, at once."""
        check_header(data, self.options.most_pixels)
        return finish(decode_image(data, name, minimum_side))

    def embed(self, uploads):
        """Returns of each `Upload` its vector, what is near it and what the encoder saw.

        An exception in place of those that are no image.
        """
        answers = [self.prepared(upload) for upload in uploads]
        for state in {upload.state for upload in uploads}:
            places = [
                place
                for place, upload in enumerate(uploads)
                if upload.state is state and not isinstance(answers[place], ValueError)
            ]
            if not places:
                continue
            vectors = state.encoder.predict_on_batch(np.stack([answers[n] for n in places]))
            asked = zip(vectors, (uploads[place].k for place in places), strict=True)
            near = iter(self.search([Question(v, k, state.index) for v, k in asked if k]))
            for place, vector in zip(places, vectors, strict=True):
                upload, seen = uploads[place], answers[place]
                answers[place] = (
                    vector,
                    next(near) if upload.k else None,
                    uri(state.cut(seen)) if upload.crop else None,
                )
        return answers

    def prepared(self, upload):
        """Returns an upload as the encoder wants it, or says why it is no image."""
        if not isinstance(upload.image, bytes):
            return upload.image
        side = upload.state.encoder.preparation.resize_side
        try:
            return self.decode(upload.image, "the upload", side, upload.state.prepare)
        except ValueError as error:
            return error

    def search(self, questions):
        """Returns what is near the vectors of `Question`s, of each index and k together."""
        found = [None] * len(questions)
        for index, k in {(question.index, question.k) for question in questions}:
            places = [
                place
                for place, question in enumerate(questions)
                if question.index is index and question.k == k
            ]
            near = index.search(np.stack([questions[place].vector for place in places]), k)
            for place, one in zip(places, near, strict=True):
                found[place] = one
        return found

    async def by_image(self, data, k, where, crop):
        """Returns what is near an upload, ready for JSON."""
        state = self.state
        state.check(where)
        async with asyncio.timeout(self.options.seconds):
            if not is_quick(data):
                side = state.encoder.preparation.resize_side
                data = await self.decoding.ask((data, "the upload", side, state.prepare))
            upload = Upload(data, k if where is None else None, crop, state)
            vector, near, shown = await self.embedding.ask(upload)
        if where is not None:
            near = await self.filtered(state.index, vector, k, where)
        return told(state, near, shown)

    async def by_vector(self, state, vector, k, where):
        """Returns what is near a vector, ready for JSON."""
        state.check(where)
        if where is not None:
            return told(state, await self.filtered(state.index, vector, k, where))
        async with asyncio.timeout(self.options.seconds):
            return told(state, await self.searching.ask(Question(vector, k, state.index)))

    async def filtered(self, index, vector, k, where):
        """Returns what is near a vector among the items that a filter keeps.

        It may take long: nobody else waits for it.
        """
        (near,) = await self.run(index.search, vector[None], k, where)
        return near

    async def follow(self):
        """Takes up changes of the index, for as long as the service runs."""
        pause = RELOAD
        while True:
            await asyncio.sleep(pause)
            try:
                await asyncio.to_thread(self.take_up)
            except Exception as error:  # whatever it is, the index at hand goes on serving
                if str(error) != self.fault:
                    LOG.error("dml: the index can't be taken up as it is now: %s", error)
                self.fault, pause = str(error), min(2 * pause, LONGEST_PAUSE)
            else:
                if self.fault is not None:
                    LOG.warning("dml: the index has been taken up")
                self.fault, pause = None, RELOAD

    def take_up(self):
        """Takes up the index as it is now, and its encoder where that is another one."""
        index, encoder = self.state.index.renewed(), self.state.encoder
        if index is not None:
            if index.encoder_sha256 != encoder.sha256:
                encoder = index.encoder(self.bundle, self.options.processors)
            self.state = State(index, encoder)
        self.count = len(self.state.index)


def told(state, near, crop=None):
    """Returns neighbours as an answer, ready for JSON."""
    threshold, results = state.threshold, []
    for similarity, item in near:
        same = None if threshold is None else similarity >= threshold
        results.append({**public(item), "similarity": round(similarity, 6), "same": same})
    return {"results": results, "threshold": threshold, "crop": crop}


def public(item):
    """Returns an item without its hidden fields, ready for JSON, which has no infinity."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in item.items()
        if name not in HIDDEN
    }


def small(image):
    """Returns an image as a small JPEG."""
    return jpeg(shrunk(image, 512))


def uri(image):
    """Returns an image as a JPEG data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(image)).decode()


def create_app(path, options=None, bundle=None):
    """Returns the FastAPI application that serves an index.

    Args:
        path: The index, as `dml.index.open_index` takes it.
        options: `ServiceOptions`; the defaults if None.
        bundle: The encoder's; None for the index's own.

    Raises:
        FileNotFoundError: There is no index.
        ValueError: It is damaged.
    """
    options = options or ServiceOptions()
    service = Service(path, options, bundle)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with service.running():
            yield

    app = FastAPI(
        title="dml", summary="Search an index of images", lifespan=lifespan, docs_url=None,
        redoc_url=None,
    )  # fmt: skip
    add_errors(app)
    app.add_middleware(Measured, service=service)
    app.add_middleware(
        Limits,
        hosts=options.hosts,
        token=options.token,
        most_bytes=options.most_bytes,
        most_received=16 * options.most_bytes,
        seconds=options.seconds,
    )
    add_search(app, service)
    add_items(app, service)
    add_page(app, options)
    return app


def add_errors(app):
    """Turns the faults of the layers below into answers."""

    def answer(status):
        return lambda request, error: JSONResponse({"detail": str(error)}, status)

    def invalid(request, error):  # without the input, which may hold what JSON can't
        told = [{name: one[name] for name in ("type", "loc", "msg")} for one in error.errors()]
        return JSONResponse({"detail": told}, 422)

    def busy(request, error):
        return JSONResponse({"detail": "busy: try again"}, 503, {"Retry-After": "1"})

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Busy, busy)
    app.add_exception_handler(TimeoutError, busy)
    app.add_exception_handler(
        UploadError, lambda request, error: JSONResponse({"detail": str(error)}, error.status)
    )
    app.add_exception_handler(
        OSError,
        lambda r, e: JSONResponse(
            {"detail": "the index does not answer"}, 503, {"Retry-After": "10"}
        ),
    )
    app.add_exception_handler(ImageError, answer(415))
    app.add_exception_handler(ValueError, answer(400))
    app.add_exception_handler(KeyError, lambda r, e: JSONResponse({"detail": "no such item"}, 404))


class Measured:
    """Counts and times requests, before it hands them to the application.

    Args:
        app: The application.
        service: `Service`.
    """

    def __init__(self, app, service):
        self.app = app
        self.service = service

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()

        async def measured(message):
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                self.service.requests.labels(route, message["status"]).inc()
                self.service.latency.labels(route).observe(time.perf_counter() - started)
            await send(message)

        await self.app(scope, receive, measured)


def add_search(app, service):
    """Adds the three ways to search."""
    size = Query(10, ge=1, le=1000, description="neighbours wanted")
    filtering = Query(None, description=FILTER)
    known, sent = problems(400, 404, *COMMON), problems(400, 408, 413, 415, *COMMON)

    @app.post("/search", response_model=Found, openapi_extra={"requestBody": BODY}, responses=sent)
    async def by_upload(
        request: Request, k: int = size, where: str | None = filtering, crop: bool = False
    ):
        """Searches by an image: the body itself, or the field `image` of a form."""
        started = time.perf_counter()
        found = await service.by_image(await uploaded(request), k, where, crop)
        return JSONResponse({**found, "seconds": time.perf_counter() - started})

    @app.get("/search", response_model=Found, responses=known)
    async def by_id(id: str, k: int = size, where: str | None = filtering, crop: bool = False):
        """Searches by an item of the index, which is not among the results."""
        started = time.perf_counter()
        state = service.state
        vector = await service.run(state.index.vector, id)
        found = await service.by_vector(state, vector, k + 1, where)
        found["results"] = [one for one in found["results"] if one["id"] != id][:k]
        if crop:
            path = (await service.run(state.index.item, id))["path"]
            side = state.encoder.preparation.resize_side
            with contextlib.suppress(ImageError, UploadError):
                found["crop"] = uri(state.cut(await service.picture(path, side, state.prepare)))
        return JSONResponse({**found, "seconds": time.perf_counter() - started})

    @app.post("/search/vector", response_model=Found, responses=problems(400, 408, 413, *COMMON))
    async def by_vector(query: VectorQuery):
        """Searches by a vector of this index's encoder; brought to length 1."""
        started = time.perf_counter()
        state, vector = service.state, np.array(query.vector, "float64")
        largest = np.abs(vector).max(initial=0)
        if vector.shape != (state.index.dimension,) or not 0 < largest < float("inf"):
            raise HTTPException(
                400, f"a vector is {state.index.dimension} finite numbers, not all 0"
            )
        vector = vector / largest
        vector = (vector / np.linalg.norm(vector)).astype("float32")
        found = await service.by_vector(state, vector, query.k, query.where)
        return JSONResponse({**found, "seconds": time.perf_counter() - started})


def add_items(app, service):
    """Adds what the index holds, and how the service is."""

    filtering = Query(None, description=FILTER)
    listed, one = problems(400, *COMMON), problems(404, *COMMON)

    @app.get("/items", response_model=Items, responses=listed)
    async def items(
        offset: int = Query(0, ge=0),
        limit: int = Query(50, ge=1, le=1000),
        where: str | None = filtering,
    ):
        """Lists items, page by page."""
        state = service.state
        state.check(where)
        page, total = await service.run(state.index.page, where, offset, limit)
        return JSONResponse({"items": [public(one) for one in page], "total": total})

    @app.get("/samples", response_model=Items, responses=listed)
    async def samples(
        limit: int = Query(24, ge=1, le=1000),
        seed: int = Query(0, ge=0, lt=2**32, description="another one gives other items"),
        where: str | None = filtering,
    ):
        """Draws items at random, one of each label before a second of any."""
        state = service.state
        state.check(where)
        drawn, total = await service.run(state.index.sample, where, limit, seed)
        return JSONResponse({"items": [public(one) for one in drawn], "total": total})

    @app.get("/items/{id:path}", response_model=Item, responses=one)
    async def item(id: str):
        """Returns one item."""
        return JSONResponse(public(await service.run(service.state.index.item, id)))

    picture = {200: {"content": {"image/jpeg": {}}, "description": "a small JPEG"}}

    @app.get("/images/{id:path}", response_class=Response, responses=picture | one)
    async def image(id: str):
        """Returns an item's image as a small JPEG; its path comes from the index alone."""
        path = (await service.run(service.state.index.item, id))["path"]
        try:
            data = await service.picture(path, 256, small)
        except (ImageError, UploadError):
            raise HTTPException(404, "the image is gone or can't be read") from None
        return Response(
            data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"}
        )

    @app.get("/about", response_model=About, responses=problems(*COMMON))
    async def about():
        """Says what the page needs to know."""
        state = service.state
        labels = await service.run(state.index.labels, LABELS)
        return JSONResponse(
            {
                "items": service.count,
                "labels": labels,
                "fields": state.fields,
                "threshold": state.threshold,
                "most_bytes": service.options.most_bytes,
            }
        )

    @app.get("/health", response_model=Health, responses=problems(403, 421))
    async def health():
        """Says that the service is up, and whether it serves the index as it is now."""
        return {"status": "ok" if service.fault is None else "stale", "items": service.count}

    figures = {200: {"content": {"text/plain": {}}, "description": "for Prometheus"}}

    @app.get("/metrics", response_class=Response, responses=figures | problems(401, 403, 421))
    async def metrics():
        """Figures for Prometheus."""
        return Response(generate_latest(service.registry), media_type="text/plain; version=0.0.4")


def add_page(app, options):
    """Adds the page and its login."""
    here = resources.files("dml.serve")
    files = {"/": ("page.html", "text/html"), "/page.css": ("page.css", "text/css")}
    files["/page.js"] = ("page.js", "text/javascript")
    for route, (name, kind) in files.items():
        data = (here / name).read_bytes()

        async def page(data=data, kind=kind):
            return Response(data, media_type=kind, headers={"Cache-Control": "no-cache"})

        app.add_api_route(route, page, include_in_schema=False)

    @app.post("/login", responses=problems(400, 401, 403, 408, 413, 421, 503))
    async def login(given: Login, request: Request):
        """Gives the page a cookie for the token."""
        wanted = options.token or ""
        if not hmac.compare_digest(given.token.encode("utf-8", "replace"), wanted.encode()):
            raise HTTPException(401, "this is not the token")
        response = JSONResponse({})
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, wanted, httponly=True, samesite="strict", secure=secure)
        return response
