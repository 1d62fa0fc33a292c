"""Clients that keep a server busy while something happens to it."""

import threading
import time
from typing import Any, Self

import msgspec
import numpy as np

from wine_assets_tests.support.serving.models import expected, request, rows
from wine_assets_tests.support.serving.server_process import ServerProcess

INFER = "/v2/models/wine/infer"


class Load:
    """Clients that ask, and check each answer against the version that it names."""

    def __init__(self, server: ServerProcess, clients: int, *, pause_s: float = 0.0) -> None:
        self._server, self._pause_s, self._stop = server, pause_s, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]
        self.answers = 0
        self.seconds: list[float] = []
        """How long each answer took."""
        self.wrong: list[Any] = []
        self.versions: set[str] = set()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        count = 1 + number
        body = msgspec.json.encode(request(rows()[:count]))
        with self._server.client() as client:
            while not self._stop.wait(self._pause_s):
                try:
                    began = time.perf_counter()
                    reply = client.post(INFER, body)
                    self.seconds.append(time.perf_counter() - began)
                    self._check(reply.status, reply.json, count)
                except Exception as error:  # noqa: BLE001 - whatever it is, it shouldn't be
                    self.wrong.append(repr(error))
                    return

    def _check(self, status: int, answer: Any, count: int) -> None:
        self.answers += 1
        if status != 200:
            self.wrong.append((status, answer))
            return
        version = answer["model_version"]
        self.versions.add(version)
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        probabilities = np.reshape(outputs["probabilities"], (count, 2))
        if not np.allclose(probabilities, expected(int(version))[1][:count], rtol=0, atol=1e-6):
            self.wrong.append(answer)
