"""A web server for the tests of downloads: it can resume, refuse to, and break off."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """One file at ``url``.

    Attributes:
        content: of the file.
        break_after: bytes after which each of the next answers breaks off.
        can_resume: whether it heeds Range.
        status: of the answers, if not the usual one.
        ranges: the Range headers that came, None for none.
    """

    content: bytes
    url: str = ""
    break_after: list[int] = field(default_factory=list)
    can_resume: bool = True
    status: int | None = None
    ranges: list[str | None] = field(default_factory=list)


@contextmanager
def serve(content: bytes, name: str = "archive.tar.gz") -> Iterator[Server]:
    state = Server(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            if state.status:
                return self.send_error(state.status)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.can_resume else 0
            total = len(state.content)
            if start >= total and start:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.send_header("Content-Length", str(total - start))
            self.end_headers()
            end = start + state.break_after.pop(0) if state.break_after else total
            self.wfile.write(state.content[start:end])
            return None

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}/{name}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
