"""Limits on clients: bytes, seconds, hosts, origins and the token."""

import asyncio
import contextlib
import hmac
import re
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PUBLIC_PATHS = {"/", "/page.css", "/page.js", "/health", "/login"}  # need no token
COOKIE = "dml_token"
PORT = re.compile(r":\d*$")
UPLOAD_PATH = "/search"  # the only path whose request bodies are images
MAX_JSON_BYTES = 2**20  # of a body elsewhere
CLOSE = {"Connection": "close"}  # the rest of the body is not used
DISCARDED_BYTES = 64 * 2**20  # of a refused body, which is received so that the refusal can be read
DISCARDED_SECONDS = 5.0
RETRY = {"Retry-After": "1"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


class Limits:
    """ASGI middleware that checks hosts, origins, the token, and the size and time of bodies.

    It also adds security headers, and answers exceptions with 500. Without a token, cross-origin
    requests are rejected, except for links to the page. HEAD is answered like GET, without a body.

    Args:
        app: The application.
        allowed_hosts: Accepted Host headers; None for any. Protects against DNS rebinding.
        token: Bearer token that requests must present; None for no authentication.
        max_upload_bytes: Largest upload; other bodies may have a mebibyte.
        max_received_bytes: Largest total of all bodies that are being received.
        timeout: Timeout in seconds for receiving a body.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed_hosts: tuple[str, ...] | None,
        token: str | None,
        max_upload_bytes: int,
        max_received_bytes: int,
        timeout: float,
    ):
        self.app = app
        self.allowed_hosts = allowed_hosts
        self.token = token
        self.max_upload_bytes = max_upload_bytes
        self.max_received_bytes = max_received_bytes
        self.timeout = timeout
        self.received = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        asked, started = scope, False
        if scope["method"] == "HEAD":  # the server leaves out the body
            scope = {**scope, "method": "GET"}

        async def send_with_headers(message):
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                asked["route"] = scope.get("route")  # for the metrics
                message["headers"] = [*message["headers"], *RAW_HEADERS]
            await send(message)

        async def send_and_discard(message):
            if message["type"] != "http.response.body":
                await send_with_headers(message)
                return
            await send_with_headers({**message, "more_body": True})
            await _discard(receive)
            await send_with_headers({"type": "http.response.body"})

        refusal = self._refusal(scope["path"], Headers(scope=scope))
        if refusal is None:
            body = _Body(self, receive, self._max_body_bytes(scope["path"]))

            async def send_unless_refused(message):
                if body.refusal is None:
                    await send_with_headers(message)

            try:
                with contextlib.suppress(ClientDisconnect):
                    await self.app(scope, body.receive, send_unless_refused)
            except Exception:
                if not started:
                    failure = body.refusal or JSONResponse({"detail": "internal error"}, 500)
                    await failure(
                        scope, receive, send_and_discard if body.refusal else send_with_headers
                    )
                raise
            except asyncio.CancelledError:  # the service stops
                if not started:
                    stopping = JSONResponse({"detail": "the service stops"}, 503, CLOSE)
                    await stopping(scope, receive, send_with_headers)
            finally:
                self.received -= body.held
            refusal = body.refusal
        if refusal is not None:
            await refusal(scope, receive, send_and_discard)

    def _max_body_bytes(self, path):
        if path == UPLOAD_PATH:
            return self.max_upload_bytes
        return min(self.max_upload_bytes, MAX_JSON_BYTES)

    def _refusal(self, path, headers):
        """Returns the response that rejects a request; None if it is allowed."""
        host = headers.get("host", "")
        if self.allowed_hosts is not None and PORT.sub("", host) not in self.allowed_hosts:
            return JSONResponse({"detail": "Host header not allowed"}, 421)
        if self.token is None and path != "/" and _is_cross_origin(headers, host):
            return JSONResponse({"detail": "cross-origin request not allowed"}, 403)
        length = headers.get("content-length", "0")
        limit = self._max_body_bytes(path)
        if length.isdecimal() and (len(length) > 18 or int(length) > limit):
            return JSONResponse({"detail": _too_large(limit)}, 413, CLOSE)
        token = self.token
        if token is not None and path not in PUBLIC_PATHS and not _has_token(headers, token):
            return JSONResponse(
                {"detail": "missing or invalid token"}, 401, {"WWW-Authenticate": "Bearer"}
            )
        return None


async def _discard(receive):
    """Receives the rest of a refused body: a connection with unread bytes is reset when it ends."""
    left = DISCARDED_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARDED_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _has_token(headers, token):
    """Returns whether a request presents the token, in a header or in the page's cookie."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        given = cookie.value if cookie else ""
    return hmac.compare_digest(given.encode(), token.encode())


def _is_cross_origin(headers, host):
    """Returns whether a browser makes a request on behalf of a page of another origin."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != host


class _Body:
    """Receives the body of one request within the limits.

    Args:
        limits: `Limits`.
        receive: The server's function.
        max_bytes: Largest body.
    """

    def __init__(self, limits, receive, max_bytes):
        self.limits = limits
        self.max_bytes = max_bytes
        self.next = receive
        self.end = asyncio.get_running_loop().time() + limits.timeout
        self.held = 0
        self.complete = False
        self.refusal = None  # sent instead of the application's response to an incomplete body

    async def receive(self):
        """Returns the next message; "http.disconnect" if the body is rejected."""
        if self.complete:
            return await self.next()
        left = self.end - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(left, 0)):
                message = await self.next()
        except TimeoutError:
            return self._refuse(408, "timeout while receiving the request")
        size = len(message.get("body", b""))
        self.held += size
        self.limits.received += size
        if self.held > self.max_bytes:
            return self._refuse(413, _too_large(self.max_bytes))
        if self.limits.received > self.limits.max_received_bytes:
            return self._refuse(503, "too many requests; try again later", RETRY)
        self.complete = not message.get("more_body", False)
        return message

    def _refuse(self, status, text, headers=None):
        self.refusal = JSONResponse({"detail": text}, status, {**CLOSE, **(headers or {})})
        self.complete = True
        return {"type": "http.disconnect"}


def _too_large(max_bytes):
    return f"the request body may have at most {max_bytes / 2**20:g} MiB"


class ImpatientProtocol(HttpToolsProtocol):
    """Closes connections whose request line and headers take too long or are too large."""

    header_timeout = 10  # seconds
    max_header_bytes = 64 * 2**10

    def connection_made(self, transport):
        super().connection_made(transport)
        self._timer = None
        self._unread = 0
        self._watch()

    def data_received(self, data):
        self._unread = self._unread + len(data) if self._awaits_headers() else 0
        super().data_received(data)
        if self._unread > self.max_header_bytes and self._awaits_headers():
            self.transport.close()
        self._watch()

    def _awaits_headers(self):
        return self.cycle is None or self.cycle.response_complete

    def _watch(self):
        """Runs the timeout while headers are awaited, and only then."""
        awaited = self._awaits_headers()
        if awaited and self._timer is None:
            self._timer = self.loop.call_later(self.header_timeout, self.transport.close)
        elif not awaited and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def connection_lost(self, exc):
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
