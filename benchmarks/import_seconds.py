"""Run a Python script and write the CPU seconds that its imports took, by top-level package, as JSON.

    python import_seconds.py ANSWER.json SCRIPT ARGUMENT ...

Seconds are a package's own: what its modules import in turn counts for those. `python -X importtime` reports wall
time, which says little on a busy machine. Needs nothing but the standard library, so any environment can run it.
"""

import atexit
import json
import runpy
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from pathlib import Path
from typing import Any

_seconds: Counter[str] = Counter()
_threads = threading.local()


def main() -> None:
    """Watch the loaders, then be the script."""
    _, answer, *sys.argv = sys.argv
    atexit.register(lambda: Path(answer).write_text(json.dumps(_seconds)))
    SourceFileLoader.exec_module = _timed(SourceFileLoader.exec_module)  # type: ignore[assignment, method-assign]
    ExtensionFileLoader.exec_module = _timed(ExtensionFileLoader.exec_module)  # type: ignore[assignment, method-assign]
    ExtensionFileLoader.create_module = _timed(ExtensionFileLoader.create_module)  # type: ignore[assignment, method-assign]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


def _timed(load: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def timed(loader: Any, module: Any) -> Any:
        within = _threads.__dict__.setdefault("within", [])  # seconds of the imports inside each import under way
        within.append(0.0)
        start = time.thread_time()
        try:
            return load(loader, module)
        finally:
            taken = time.thread_time() - start
            _seconds[loader.name.partition(".")[0]] += taken - within.pop()
            if within:
                within[-1] += taken

    return timed


if __name__ == "__main__":
    main()
