"""The settings of the server, from flags and environment variables."""

import argparse
import dataclasses
import os
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, get_type_hints

from wine_assets.errors import SettingsError

PREFIX = "WINE_SERVE_"
HOME_VARIABLE = "WINE_ASSETS_HOME"
TELEMETRY_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
SOCKET_VARIABLE = "WINE_SERVE_SOCKET"
"""The file descriptor of the listening socket that a worker inherits."""
SHARED_METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The folder of the metrics that workers share; prometheus_client reads the variable when it is imported."""
MODEL = "wine"
_MAX_DIGITS = 20
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def _integer(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS) or not minimum <= int(text) <= maximum:
            raise ValueError(f"a whole number from {minimum} to {maximum}")
        return int(text)

    return parse


def _seconds(minimum: float, maximum: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not minimum <= value <= maximum:
            raise ValueError(f"a number of seconds from {minimum:g} to {maximum:g}")
        return value

    return parse


def _boolean(text: str) -> bool:
    if text.lower() in (*_YES, *_NO):
        return text.lower() in _YES
    raise ValueError("yes or no")


def _host(text: str) -> str:
    if not text or any(character.isspace() or character == "/" for character in text):
        raise ValueError("an address or a host name of this machine, such as 127.0.0.1")
    return text


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    if not names or any("/" in name or " " in name for name in names):
        raise ValueError("host names with commas between them, such as wine.example.org,localhost, or *")
    return names


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError("a path")
    return Path(text)


class _Setting(NamedTuple):
    """The parser of a setting, and its description."""

    parse: Callable[[str], Any]
    text: str


@dataclass(frozen=True)
class ServeSettings:
    """The settings; `of` reads them."""

    model: Annotated[
        Path,
        _Setting(_path, "folder of the model repository whose champion is served; it may be empty, or not there yet"),
    ]
    host: Annotated[str, _Setting(_host, "address to listen on; one that other machines reach lets them all ask")] = (
        "127.0.0.1"
    )
    port: Annotated[int, _Setting(_integer(0, 65535), "TCP port of HTTP; 0 takes a free one, which the log says")] = (
        8080
    )
    grpc_port: Annotated[int, _Setting(_integer(0, 65535), "TCP port of gRPC; 0 serves none")] = 8081
    workers: Annotated[
        int, _Setting(_integer(1, 64), "processes that share the port of HTTP; a dead one is replaced")
    ] = 1
    threads: Annotated[int, _Setting(_integer(1, 256), "threads that compute one batch together, in each process")] = 1
    allowed_hosts: Annotated[
        tuple[str, ...],
        _Setting(
            _names,
            "host names that the Host header may have, with commas between them, * for any; by default the names of "
            "this machine alone when --host is one of them, and any otherwise",
        ),
    ] = ()
    token_file: Annotated[
        Path | None,
        _Setting(_path, "file with a bearer token that every route but /v2/health/* then needs, /metrics included"),
    ] = None
    body_limit_bytes: Annotated[
        int, _Setting(_integer(1024, 1 << 31), "bytes of a body, also once it is decompressed")
    ] = 8 << 20
    bodies_limit_bytes: Annotated[
        int,
        _Setting(
            _integer(1024, 1 << 36),
            "bytes of bodies not answered yet of a process together; beyond them, bodies of more than 64 KiB get 503",
        ),
    ] = 32 << 20
    header_limit_bytes: Annotated[
        int, _Setting(_integer(1024, 1 << 20), "bytes of a request's first line and headers")
    ] = 32 << 10
    header_deadline_s: Annotated[float, _Setting(_seconds(0.1, 600), "time in which all headers have to arrive")] = 10.0
    body_deadline_s: Annotated[
        float, _Setting(_seconds(0.1, 3600), "time in which all of a body has to arrive, and an answer to be read")
    ] = 30.0
    idle_s: Annotated[float, _Setting(_seconds(0.1, 3600), "time that an idle connection is kept open")] = 65.0
    rows_limit: Annotated[int, _Setting(_integer(1, 10_000_000), "rows of one request")] = 10_000
    connections: Annotated[
        int, _Setting(_integer(1, 1_000_000), "connections of a process at one time; more get 503")
    ] = 2048
    poll_s: Annotated[float, _Setting(_seconds(0.01, 3600), "time between two looks at the champion pointer")] = 0.25
    drain_s: Annotated[
        float, _Setting(_seconds(0, 600), "time after SIGTERM in which requests are taken while ready says 503")
    ] = 1.0
    finish_s: Annotated[
        float, _Setting(_seconds(0.1, 600), "time after that in which requests that have begun may end")
    ] = 3.0
    access_log: Annotated[bool, _Setting(_boolean, "whether each request is logged: yes or no")] = False

    @classmethod
    def of(cls, arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the settings; raise SettingsError, which names the flag or variable, for an invalid value."""
        flags = vars(_parser().parse_args(arguments))
        values: dict[str, Any] = {"model": _home(environment) / "models" / MODEL}
        for name, setting in setting_fields().items():
            text, source = flags[name], _flag(name)
            if text is None:
                source = _variable(name)
                text = environment.get(source) or None
            if text is not None:
                values[name] = _parse(setting.parse, text, source)
        return cls(**values)

    @property
    def accepted_hosts(self) -> frozenset[str] | None:
        """The names that a Host header may have; None for any."""
        if "*" in self.allowed_hosts or (not self.allowed_hosts and self.host not in _LOOPBACK):
            return None
        return frozenset(self.allowed_hosts or (*_LOOPBACK, self.host.lower()))


def setting_fields() -> dict[str, _Setting]:
    """Return the parser and description of each setting, by name."""
    hints = get_type_hints(ServeSettings, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in dataclasses.fields(ServeSettings)}


def telemetry_endpoint(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the endpoint for traces, None if it is not set."""
    return environment.get(TELEMETRY_VARIABLE) or None


def limit_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let numpy's libraries use one thread each; call it before numpy is imported.

    They would start a thread for each processor, also in a container with fewer, but onnxruntime does the computing.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setdefault(name, "1")


def inherited_socket(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the file descriptor of the listening socket that this worker inherited, None if it is no worker."""
    text = environment.get(SOCKET_VARIABLE)
    return int(text) if text else None


def shares_metrics(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether several processes share their metrics."""
    return bool(environment.get(SHARED_METRICS_VARIABLE))


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get(HOME_VARIABLE) or ".wine_assets").absolute()


def _parse(parse: Callable[[str], Any], text: str, source: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{source} must be {error}, got {text[:60]!r}.") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise SettingsError(f"{message[0].upper()}{message[1:]}. `--help` lists the flags.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="wine-assets serve",
        description="Serve the champion of a model repository by the Open Inference Protocol V2.",
        epilog=f"Each flag can be an environment variable instead: {PREFIX}PORT for --port.",
        allow_abbrev=False,
    )
    defaults = {field.name: field.default for field in dataclasses.fields(ServeSettings)}
    for name, setting in setting_fields().items():
        default = f"$WINE_ASSETS_HOME/models/{MODEL}" if name == "model" else defaults[name]
        shown = "" if default in (None, (), False) else f" (default: {default})"
        parser.add_argument(_flag(name), metavar=name.upper(), help=setting.text + shown)
    return parser


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return PREFIX + name.upper()
