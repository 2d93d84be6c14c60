"""What a client may cost: bytes, seconds, and who may ask at all."""

import asyncio
import contextlib
import hmac
import re
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

OPEN = {"/", "/page.css", "/page.js", "/health", "/login"}  # without a token
COOKIE = "dml_token"
PORT = re.compile(r":\d*$")
UPLOADS = "/search"  # the one path whose bodies are images
MOST_JSON = 2**20  # bytes of a body elsewhere
CLOSE = {"Connection": "close"}  # the rest of a body is not waited for
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
    """Stands before the application: hosts, token, size and time of bodies, headers of answers.

    Without a token, pages of other sites that the user's browser shows are refused: they may link
    to the page, and nothing else. HEAD is answered as GET is, without a body.

    Args:
        app: What it stands before.
        hosts: Names by which the service may be called; None for any. A page of somebody else that
            makes its own name point here is refused by this.
        token: What requests must bring; None for nothing.
        most_bytes: Of one upload; other bodies may have a mebibyte.
        most_received: Of all bodies together that are being received.
        seconds: That a body may take.
    """

    def __init__(self, app, hosts, token, most_bytes, most_received, seconds):
        self.app = app
        self.hosts = hosts
        self.token = token
        self.most_bytes = most_bytes
        self.most_received = most_received
        self.seconds = seconds
        self.received = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *RAW_HEADERS]
            await send(message)

        if scope["method"] == "HEAD":  # the server leaves out the body
            scope = {**scope, "method": "GET"}
        refusal = self.refusal(scope["path"], Headers(scope=scope))
        if refusal is None:
            body = Body(self, receive, self.most(scope["path"]))

            async def send_unless_refused(message):
                if body.refusal is None:
                    await send_with_headers(message)

            try:
                with contextlib.suppress(ClientDisconnect):
                    await self.app(scope, body.receive, send_unless_refused)
            finally:
                self.received -= body.held
            refusal = body.refusal
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)

    def most(self, path):
        """Returns the bytes that a body may have."""
        return self.most_bytes if path == UPLOADS else min(self.most_bytes, MOST_JSON)

    def refusal(self, path, headers):
        """Returns the answer to a request that may not go on; None for one that may."""
        host = headers.get("host", "")
        if self.hosts is not None and PORT.sub("", host) not in self.hosts:
            return JSONResponse({"detail": "this service has another name"}, 421)
        if self.token is None and path != "/" and is_foreign(headers, host):
            return JSONResponse({"detail": "a page of another site may not ask this service"}, 403)
        length = headers.get("content-length", "0")
        most = self.most(path)
        if length.isdecimal() and (len(length) > 18 or int(length) > most):
            return JSONResponse({"detail": too_large(most)}, 413, CLOSE)
        if self.token is not None and path not in OPEN and not self.is_known(headers):
            return JSONResponse(
                {"detail": "a token is needed"}, 401, {"WWW-Authenticate": "Bearer"}
            )
        return None

    def is_known(self, headers):
        """Returns whether a request brings the token, as a header or as the page's cookie."""
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if not given:
            try:
                cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
            except CookieError:
                return False
            given = cookie.value if cookie else ""
        return hmac.compare_digest(given.encode(), self.token.encode())


def is_foreign(headers, host):
    """Returns whether a browser sends a request for a page that is not the service's own."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != host


class Body:
    """Receives one request's body, until it costs too much.

    Args:
        limits: `Limits`.
        receive: What the server gives.
        most_bytes: Of it.
    """

    def __init__(self, limits, receive, most_bytes):
        self.limits = limits
        self.most_bytes = most_bytes
        self.next = receive
        self.end = asyncio.get_running_loop().time() + limits.seconds
        self.held = 0
        self.whole = False
        self.refusal = None  # the answer, in place of what the application makes of half a body

    async def receive(self):
        """Returns the next message; that the client has gone where it is refused."""
        if self.whole:
            return await self.next()
        left = self.end - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(left, 0)):
                message = await self.next()
        except TimeoutError:
            return self.refuse(408, "the request took too long to arrive")
        size = len(message.get("body", b""))
        self.held += size
        self.limits.received += size
        if self.held > self.most_bytes:
            return self.refuse(413, too_large(self.most_bytes))
        if self.limits.received > self.limits.most_received:
            return self.refuse(503, "busy: try again", {"Retry-After": "1"})
        self.whole = not message.get("more_body", False)
        return message

    def refuse(self, status, text, headers=None):
        self.refusal = JSONResponse({"detail": text}, status, {**CLOSE, **(headers or {})})
        self.whole = True
        return {"type": "http.disconnect"}


def too_large(most_bytes):
    return f"the body of a request may have at most {most_bytes / 2**20:g} MiB here"


class ImpatientProtocol(HttpToolsProtocol):
    """Closes connections whose request line and headers do not end, in time or in bytes."""

    seconds = 10
    most_bytes = 64 * 2**10

    def connection_made(self, transport):
        super().connection_made(transport)
        self.patience = None
        self.unread = 0
        self.watch()

    def data_received(self, data):
        self.unread = self.unread + len(data) if self.awaits_headers() else 0
        super().data_received(data)
        if self.unread > self.most_bytes and self.awaits_headers():
            self.transport.close()
        self.watch()

    def awaits_headers(self):
        return self.cycle is None or self.cycle.response_complete

    def watch(self):
        """Lets the clock run while headers are awaited, and only then."""
        awaited = self.awaits_headers()
        if awaited and self.patience is None:
            self.patience = self.loop.call_later(self.seconds, self.transport.close)
        elif not awaited and self.patience is not None:
            self.patience.cancel()
            self.patience = None

    def connection_lost(self, exc):
        if self.patience is not None:
            self.patience.cancel()
        super().connection_lost(exc)
