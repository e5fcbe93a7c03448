"""The server of the page: static files, a tab's uploads, and the answers of the views. It listens on 127.0.0.1 alone."""

import asyncio
import json
import math
import secrets
import signal
import socket
import sys
import webbrowser
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from heartlens.app import NOT_MEDICAL
from heartlens.app.guard import Guard
from heartlens.app.tabs import MOST_FILES, House, Tab, safe_name
from heartlens.app.views import NAMES, Binary, view
from heartlens.exits import STOPS
from heartlens.refusal import Failure, Refusal, one_line, unknown

STATIC = Path(__file__).parent / "static"
TAB = "x-heartlens-tab"


def application(house: House, token: str, port: int) -> Starlette:
    """The app for one house, that answers who has the token."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        house.close()

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "index.html", media_type="text/html; charset=utf-8")

    async def start(request: Request) -> Response:
        return JSONResponse(
            {"tab": house.new_tab().key, "model": house.model, "has_given": bool(house.data), "not_medical": NOT_MEDICAL, "views": _views()}
        )

    async def upload(request: Request) -> Response:
        tab = house.tab(request.headers.get(TAB, ""))
        async with request.form(max_files=MOST_FILES, max_fields=4) as form:
            files = [(safe_name(each.filename or ""), each) for each in form.getlist("file") if not isinstance(each, str)]
            if not files:
                raise Refusal("no file was sent")
            twice = [name for name, count in Counter(name for name, _ in files).items() if count > 1]
            if twice:
                raise Refusal(f"two files are called {twice[0]} here; rename one, or send them one after the other")
            folder = tab.folder / secrets.token_hex(4)
            folder.mkdir(mode=0o700)
            tab.uploads.add(folder.name)
            for name, file in files:
                with (folder / name).open("wb") as target:
                    while block := await file.read(2**20):
                        target.write(block)
        return JSONResponse({"upload": folder.name, "files": [name for name, _ in files]})

    async def answer(request: Request) -> Response:
        name, what = request.path_params["view"], request.path_params["answer"]
        if name not in NAMES:
            raise unknown("view", name, NAMES)
        tab, asked = house.tab(request.headers.get(TAB, "")), await _question(request)
        return await run_in_threadpool(_answered, tab, name, what, asked)

    routes = [
        Route("/", page),
        Route("/api/start", start, methods=["POST"]),
        Route("/api/upload", upload, methods=["POST"]),
        Route("/api/{view}/{answer}", answer, methods=["POST"]),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    handlers: Any = {Refusal: _refused, ClientDisconnect: _left, HTTPException: _http_error, Exception: _failed}
    guard = Middleware(Guard, token=token, port=port)
    return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers, lifespan=lifespan)


def serve(house: House, port: int, is_opened: bool, is_quiet: bool) -> None:
    """Serve the page until the command is interrupted. Fails where the port is taken."""
    try:
        _serve(house, port, is_opened, is_quiet)
    finally:
        house.close()


def _serve(house: House, port: int, is_opened: bool, is_quiet: bool) -> None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()  # who opens the address as soon as it is printed waits, and is not turned away
    except OSError as error:
        raise Failure(f"port {port} cannot be used ({error.strerror}); give another --port, or none") from error
    port, token = listener.getsockname()[1], secrets.token_urlsafe(24)
    address = f"http://127.0.0.1:{port}/?token={token}"
    config = uvicorn.Config(application(house, token, port), log_level="error", access_log=False, server_header=False, lifespan="on")
    print(address, flush=True)
    if not is_quiet:
        print(f"heartlens: open this address in a browser; Ctrl-C ends the app. {NOT_MEDICAL}", file=sys.stderr)
    if is_opened:
        webbrowser.open(address)
    asyncio.run(_Server(config).serve(sockets=[listener]))


class _Server(uvicorn.Server):
    """Ends at a request to stop, which is the usual end of the app and no interruption."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in STOPS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _views() -> list[dict[str, str]]:
    return [{"name": name, "title": view(name).title, "about": view(name).about} for name in NAMES]


def _answered(tab: Tab, name: str, what: str, asked: dict[str, Any]) -> Response:
    answers = view(name).answers
    if what not in answers:
        raise unknown("answer", what, answers)
    result = answers[what](tab, asked)
    if isinstance(result, Binary):
        headers = {"content-disposition": f'attachment; filename="{safe_name(result.name)}"'} if result.name else {}
        return Response(result.content, media_type=result.type, headers=headers)
    return Response(json.dumps(_plain(result), allow_nan=False), media_type="application/json")


async def _question(request: Request) -> dict[str, Any]:
    try:
        asked = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal("the question is no JSON") from error
    if not isinstance(asked, dict):
        raise Refusal("the question is no object")
    return asked


def _plain(value: Any) -> Any:
    """What JSON can hold: arrays become lists, what is no number null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


async def _refused(request: Request, refusal: Exception) -> Response:
    return JSONResponse({"refusal": one_line(str(refusal))}, 422)


async def _left(request: Request, error: Exception) -> Response:
    return Response(status_code=204)  # nobody waits for it: an upload was cancelled


async def _http_error(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    return JSONResponse({"refusal": str(getattr(error, "detail", "")) or "not found"}, status)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"refusal": f"something went wrong in the app ({type(error).__name__}); the terminal shows more"}, 500)
