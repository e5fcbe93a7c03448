"""Who may ask: requests to this machine by its own names, from this page, with the token of the address. All else is refused."""

import hmac
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse

from heartlens.app import NOT_MEDICAL

MOST_JSON = 2**20  # bytes of a question
MOST_UPLOAD = 256 * 2**20  # bytes of one upload
TOKEN = "x-heartlens-token"
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; worker-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>heartlens</title><link rel="icon" href="data:,">'
    '<link rel="stylesheet" href="/static/app.css">'
    '<main class="refused"><h1>heartlens</h1><p>{}</p><p><strong>{}</strong></p></main></html>'
)


class Guard:
    """Lets through what is allowed, and adds the headers that keep a page to itself to every answer."""

    def __init__(self, app: Any, token: str, port: int) -> None:
        self.app, self.token = app, token
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets are served
            return
        reason = self.why_not(scope)

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *((name.encode(), text.encode()) for name, text in HEADERS.items())]
            await send(message)

        await (_refusal(scope, reason) if reason else self.app)(scope, receive, guarded)

    def why_not(self, scope: Any) -> str:
        """Why a request is refused; empty where it is not."""
        headers, path = Headers(scope=scope), scope["path"]
        if headers.get("host", "") not in self.hosts:
            return "this address is not the app's"
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self.hosts}:
            return "only the app's own page may ask"
        if path.startswith("/static/"):
            return ""
        given = headers.get(TOKEN) or (Request(scope).query_params.get("token") if path == "/" else "") or ""
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return "open the whole address that `heartlens app` printed: it holds a token, which is missing or wrong"
        if scope["method"] == "POST":
            length = headers.get("content-length", "")
            most = MOST_UPLOAD if path == "/api/upload" else MOST_JSON
            if not length.isdecimal():
                return "a request must say how long it is"
            if int(length) > most:
                return f"{int(length) / 2**20:.0f} MB are sent; at most {most / 2**20:.0f} MB are taken"
        return ""


def _refusal(scope: Any, reason: str) -> Any:
    """A reason as a page where a person would look at it."""
    is_page = scope["path"] == "/" and scope["method"] == "GET"
    return HTMLResponse(PAGE.format(reason, NOT_MEDICAL), 403) if is_page else PlainTextResponse(reason, 403)
