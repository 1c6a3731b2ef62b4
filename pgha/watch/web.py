"""The local page: the same snapshots as server-sent events. It listens on loopback, reads only, and needs nothing from
elsewhere."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pgha import ROOT
from pgha.errors import BadValue, NotReady, PortTaken
from pgha.watch.stream import Snapshot

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LOOPBACK = "127.0.0.1"

PORT = 8800

HOSTS = (LOOPBACK, "localhost")
"""What a browser may call this server; a page from elsewhere whose name leads here says that name (DNS rebinding)."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

PAGE = ROOT / "templates" / "watch.html"


def require_web() -> None:
    """Raises NotReady when this Python has no server."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise NotReady(f"--web needs a web server ({error})", "pip install -e '.[web]'") from None


class Hub:
    """Hands each snapshot to every page that is open; one that is slow gets the newest one next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: dict[asyncio.Queue[str | None], asyncio.AbstractEventLoop] = {}
        self.latest = ""
        """the newest snapshot as JSON; nothing before the first"""
        self._over = False

    def publish(self, snapshot: Snapshot) -> None:
        """From the thread that looks."""
        self.latest = json.dumps(snapshot.as_document(), ensure_ascii=False)
        self._give(self.latest)

    def close(self) -> None:
        """End every page's stream."""
        self._over = True
        self._give(None)

    def _give(self, text: str | None) -> None:
        with self._lock:
            pages = list(self._pages.items())
        for queue, loop in pages:
            with suppress(RuntimeError):  # its loop has ended
                loop.call_soon_threadsafe(_put, queue, text)

    async def stream(self) -> AsyncIterator[str]:
        """Server-sent events for one page, the newest snapshot first."""
        queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1)
        with self._lock:
            self._pages[queue] = asyncio.get_running_loop()
        try:
            text: str | None = self.latest
            while text is not None and not self._over:
                if text:
                    # JSON has no line break outside of its strings, and none inside.
                    yield f"data: {text}\n\n"
                text = await queue.get()
        finally:
            with self._lock:
                del self._pages[queue]


def _put(queue: asyncio.Queue[str | None], text: str | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(text)


FIRST = '<script type="application/json" id="first">{}</script>'


def _page(snapshot: str) -> str:
    """The page with the newest snapshot in it: it is drawn as soon as it is loaded."""
    # No text of a snapshot ends the script element.
    return PAGE.read_text().replace(FIRST.format("null"), FIRST.format(snapshot.replace("<", "\\u003c") or "null"))


def application(hub: Hub) -> Starlette:
    """The page, its stream, and the newest snapshot by itself."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    async def page(request: Request) -> Response:
        return HTMLResponse(_page(hub.latest), headers=HEADERS)

    async def stream(request: Request) -> Response:
        return StreamingResponse(hub.stream(), media_type="text/event-stream", headers=HEADERS)

    async def snapshot(request: Request) -> Response:
        if not hub.latest:
            return PlainTextResponse("nothing is seen yet\n", status_code=503, headers=HEADERS)
        return Response(hub.latest, media_type="application/json", headers=HEADERS)

    routes = [Route("/", page), Route("/events", stream), Route("/snapshot", snapshot)]
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False)
    return Starlette(routes=routes, middleware=[guard])


def listen(port: int) -> socket.socket:
    """A socket on loopback. Raises BadValue, PortTaken."""
    if not 1024 <= port <= 65535:
        raise BadValue(f"--port {port} is not a port between 1024 and 65535", f"inv watch --web --port {PORT}")
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
        listening.listen()
    except OSError as error:
        listening.close()
        hint = f"another one: inv watch --web --port {port + 1 if port < 65535 else PORT}; who has it: ss -tlnp"
        raise PortTaken(f"Nothing can listen on {LOOPBACK}:{port} ({error.strerror})", hint) from None
    return listening


@contextmanager
def served(port: int) -> Iterator[tuple[Hub, str]]:
    """Serve until the end of `with`; the hub to publish to, and the page's address.

    Raises NotReady without the packages, BadValue, PortTaken.
    """
    require_web()
    listening = listen(port)
    hub = Hub()
    server = _server(hub)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield hub, f"http://{LOOPBACK}:{port}/"
    finally:
        hub.close()
        server.should_exit = True
        thread.join(3)
        listening.close()


def _server(hub: Hub) -> Any:
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            application(hub), log_config=None, access_log=False, server_header=False, lifespan="off", ws="none",
            loop="asyncio", http="h11", timeout_graceful_shutdown=1,
        )
    )  # fmt: skip
