"""A web service that predicts in process; it needs the standard library and this package alone.

    python examples/service.py .wine_assets/models/wine --port 8090
    curl http://127.0.0.1:8090 -d '{"alcohol": 13.2, ...}'

It reads the champion pointer before an answer, at most once a second. It therefore follows a promotion or a rollback
without a restart. If a champion can't be loaded, the one before stays in use.
"""

import argparse
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from wine_assets.inference import InputError, ModelRepository, Predictor, WineAssetsError

LOOK_S = 1.0
LARGEST_BODY = 1 << 16


class Champion:
    """The predictor of the champion, which is replaced when another version becomes the champion."""

    def __init__(self, folder: str) -> None:
        """Load the champion; raise a WineAssetsError if that fails."""
        self._repository = ModelRepository(folder)
        self._seen = self._repository.champion()
        self._predictor = Predictor.load(folder)
        self._next_look = time.monotonic() + LOOK_S
        self._lock = threading.Lock()

    def predictor(self) -> Predictor:
        """Return the predictor to use now."""
        if time.monotonic() >= self._next_look and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._next_look = time.monotonic() + LOOK_S
                self._lock.release()
        return self._predictor

    def _look(self) -> None:
        try:
            champion = self._repository.champion()
            if champion != self._seen:
                self._predictor = Predictor.of(self._repository.read())
                self._seen = champion
        except WineAssetsError as error:
            sys.stderr.write(f"Version {self._predictor.version} goes on: {error}\n")


class Handler(BaseHTTPRequestHandler):
    """Answers a JSON object of feature values with the label, the probabilities and the version."""

    champion: Champion
    timeout = 30
    """Seconds that a client may take to send its request, and to read the answer."""

    def do_POST(self) -> None:
        """Answer one row."""
        predictor = self.champion.predictor()
        try:
            label, probabilities = predictor.predict_one(**self._values())
        except InputError as error:
            self._send(400, {"error": str(error)})
            return
        self._send(200, {"label": label, "probabilities": probabilities, "version": predictor.version})

    def _values(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or not 0 < int(length) <= LARGEST_BODY:
            raise InputError(
                f"The body must have 1 to {LARGEST_BODY} bytes of JSON, and a Content-Length that says so."
            )
        try:
            values = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise InputError(f"The body must be JSON ({error}).") from None
        if not isinstance(values, dict):
            raise InputError("The body must be a JSON object of feature values.")
        return values

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its name in the standard library
        """Log no request."""


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Predict in process, over HTTP.")
    parser.add_argument("folder", help="the model repository, such as .wine_assets/models/wine")
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one; 8090 by default")
    options = parser.parse_args()
    try:
        Handler.champion = Champion(options.folder)
    except WineAssetsError as error:
        sys.exit(str(error))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    except (OSError, OverflowError) as error:
        sys.exit(f"Port {options.port} of 127.0.0.1 can't be had ({error}). Give another --port.")
    with server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
