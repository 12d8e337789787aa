"""What the page needs, served on the loopback; and the browser that shows it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from clients.exported_files import ExportedFile

PAGE = Path(__file__).with_name("page.html")
TYPES = {".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm"}


class PageServer(ThreadingHTTPServer):
    """Serves the page, the packages, files and inputs; keeps what the page posts."""

    def __init__(self, packages: Path, files: Mapping[str, ExportedFile]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.packages, self.files = packages, files
        self.outputs: dict[str, bytes] = {}
        self.error: str | None = None
        self.ended = threading.Event()

    def content(self, address: str) -> bytes | None:
        """Return what lies under an address, or None."""
        kind, _, rest = address.lstrip("/").partition("/")
        if kind == "":
            return PAGE.read_bytes()
        if kind == "list":
            return json.dumps(
                [
                    {"name": name, "inputType": file.x.dtype.name, "shape": file.x.shape[1:]}
                    for name, file in self.files.items()
                ]
            ).encode()
        if kind == "packages":
            path = self.packages / rest
            return path.read_bytes() if path.is_file() else None
        if kind == "files" and rest in self.files:
            return self.files[rest].path.read_bytes()
        if kind == "inputs" and rest in self.files:
            return self.files[rest].x.tobytes()
        return None


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        address = self.path.partition("?")[0]
        content = self.server.content(address)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Type", TYPES.get(Path(address).suffix or ".html", "application/octet-stream"))
        self.send_header("Content-Length", str(len(content or b"")))
        # With these two a page may share memory between threads.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(content or b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(204)
        self.end_headers()
        kind, _, name = self.path.lstrip("/").partition("/")
        if kind == "outputs":
            self.server.outputs[name] = body
        elif kind == "end":
            self.server.error = body.decode() or None
            self.server.ended.set()

    def log_message(self, *arguments: object) -> None:
        """Say nothing: a test's output is its own."""


@contextmanager
def serving(server: PageServer) -> Iterator[str]:
    """Run the server in a thread; yield the page's address."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def showing(browser: str, address: str, profile: Path) -> Iterator[None]:
    """Have a page open in a browser without a screen, which finds no address but the loopback's."""
    process = subprocess.Popen(
        [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--remote-debugging-port=0", address,
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)
