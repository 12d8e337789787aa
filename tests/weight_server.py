"""A server on this machine's loopback that has one file, and answers for it in whatever way a test wants."""

from __future__ import annotations

import hashlib
import http.server
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CONTENT = bytes(range(256)) * 2000
HALF = len(CONTENT) // 2
OTHER = bytes(reversed(CONTENT))
NAME = "network-0a1b2c3d.pth"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass(frozen=True)
class Request:
    """What was asked."""

    path: str
    range: str | None
    version: str | None


class Server(http.server.ThreadingHTTPServer):
    """Answers each request in the next way of `behaviours`; the last one is kept."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours = ["right"]
        self.version: str | None = '"first"'
        self.requests: list[Request] = []
        self.halfway = threading.Event()
        self.go_on = threading.Event()

    def handle_error(self, *arguments: object) -> None:
        """Print nothing: a caller who does not trust the certificate ends the connection."""

    @property
    def folder(self) -> str:
        """The address of the folder with the file."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"{self.folder}/{NAME}"

    @property
    def ranges(self) -> list[str | None]:
        """The parts that were asked for."""
        return [request.range for request in self.requests]


class Handler(http.server.BaseHTTPRequestHandler):
    """One way to answer, or to fail to, a behaviour."""

    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def handle(self) -> None:
        """Answer, to a caller who may have gone."""
        with suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        """Answer."""
        known = self.server.behaviours
        behaviour = known.pop(0) if len(known) > 1 else known[0]
        self.server.requests.append(Request(self.path, self.headers["Range"], self.headers["If-Range"]))
        getattr(self, f"answer_{behaviour}")()

    def send_head(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if self.server.version is not None:
            self.send_header("ETag", self.server.version)
        self.close_connection = True
        self.end_headers()

    def wanted(self) -> int:
        """Send the head for the rest that was asked for, or for all; return where it begins."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        version = self.headers["If-Range"]
        first = int(found[1]) if found and version in (None, self.server.version) else 0
        if first >= len(CONTENT):
            self.send_head(416, Content_Range=f"bytes */{len(CONTENT)}", Content_Length=0)
        elif first:
            span = f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"
            self.send_head(206, Content_Range=span, Content_Length=len(CONTENT) - first)
        else:
            self.send_head(Content_Length=len(CONTENT))
        return first

    def answer_right(self) -> None:
        self.wfile.write(CONTENT[self.wanted() :])

    def answer_ignoring_range(self) -> None:
        self.send_head(Content_Length=len(CONTENT))
        self.wfile.write(CONTENT)

    def answer_chunked(self) -> None:
        """All of it, of a length that nobody says before."""
        self.send_head(Transfer_Encoding="chunked")
        for part in (CONTENT[:HALF], CONTENT[HALF:], b""):
            self.wfile.write(b"%x\r\n" % len(part) + part + b"\r\n")

    def answer_other(self) -> None:
        """A file of the right size."""
        self.send_head(Content_Length=len(CONTENT))
        self.wfile.write(OTHER)

    def answer_short(self) -> None:
        """An honest, shorter file."""
        self.send_head(Content_Length=1000)
        self.wfile.write(CONTENT[:1000])

    def answer_long(self) -> None:
        self.send_head(Content_Length=len(CONTENT) + 1)
        self.wfile.write(CONTENT + b"!")

    def answer_endless(self) -> None:
        """More than the file has, of a length that nobody says before."""
        self.send_head(Transfer_Encoding="chunked")
        self.wfile.write(b"%x\r\n" % (2 * len(CONTENT)) + CONTENT + CONTENT + b"\r\n")

    def answer_lying_length(self) -> None:
        """The connection ends before the length that the head says."""
        self.send_head(Content_Length=len(CONTENT))
        self.wfile.write(CONTENT[:1000])

    def answer_breaking_off(self) -> None:
        """Half of what is missing."""
        first = self.wanted()
        self.wfile.write(CONTENT[first : first + (len(CONTENT) - first) // 2])

    def answer_breaking_off_in_a_chunk(self) -> None:
        self.send_head(Transfer_Encoding="chunked")
        self.wfile.write(b"fffff\r\n" + CONTENT[:1000])

    def answer_empty(self) -> None:
        self.send_head(Content_Length=0)

    def answer_another_part(self) -> None:
        self.send_head(206, Content_Range=f"bytes 7-9/{len(CONTENT)}", Content_Length=3)
        self.wfile.write(CONTENT[7:10])

    def answer_web_page(self) -> None:
        self.send_head(Content_Type="text/html", Transfer_Encoding="chunked")
        self.wfile.write(b"e\r\n<html>Log in!\r\n0\r\n\r\n")

    def answer_missing(self) -> None:
        self.send_head(404, Content_Length=0)

    def answer_forbidden(self) -> None:
        self.send_head(403, Content_Length=0)

    def answer_failing(self) -> None:
        self.send_head(500, Content_Length=0)

    def answer_busy(self) -> None:
        self.send_head(503, Retry_After=0, Content_Length=0)

    def answer_busy_for_an_hour(self) -> None:
        self.send_head(429, Retry_After=3600, Content_Length=0)

    def answer_moved(self) -> None:
        self.send_head(302, Location=f"/elsewhere/{NAME}", Content_Length=0)

    def answer_nothing(self) -> None:
        self.connection.close()

    def answer_no_http(self) -> None:
        self.wfile.write(b"what?\r\n\r\n")

    def answer_stalling(self) -> None:
        """Half of the file, then silence."""
        self.wfile.write(CONTENT[self.wanted() : HALF])
        self.server.halfway.set()
        self.server.go_on.wait(20)

    def answer_slow(self) -> None:
        """Half of what is missing, and the rest when the test says so."""
        first = self.wanted()
        self.wfile.write(CONTENT[first : first + HALF])
        self.server.halfway.set()
        self.server.go_on.wait(20)
        self.wfile.write(CONTENT[first + HALF :])


@contextmanager
def running_server(certificate: Path | None = None) -> Iterator[Server]:
    """A server on a free port, behind TLS where there is a certificate (a file that holds its key, too)."""
    with Server() as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.go_on.set()
            server.shutdown()
            thread.join()
