"""What a server can be told, and what it refuses to be told."""

import dataclasses
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from wine_assets.errors import SettingsError
from wine_assets.serving.settings import PREFIX, ServeSettings, setting_fields

ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound to it


def of(*flags: str, **environment: str) -> ServeSettings:
    return ServeSettings.of(flags, environment)


def test_the_defaults_serve_this_machine_alone() -> None:
    settings = of()
    assert (settings.host, settings.port, settings.workers, settings.token_file) == ("127.0.0.1", 8080, 1, None)
    assert settings.model == Path(".wine_assets/models/wine").absolute()
    assert settings.accepted_hosts == frozenset({"localhost", "127.0.0.1", "::1"})
    assert settings.poll_s == 0.25
    assert not settings.access_log


def test_order_of_flag_variable_and_default() -> None:
    """A flag takes precedence over a variable, and a variable over the default."""
    assert of(WINE_SERVE_PORT="9000").port == 9000
    assert of("--port", "9001", WINE_SERVE_PORT="9000").port == 9001
    assert of(WINE_SERVE_PORT="").port == 8080
    assert of(WINE_ASSETS_HOME="/srv").model == Path("/srv/models/wine")
    assert of("--model", "elsewhere", WINE_ASSETS_HOME="/srv").model == Path("elsewhere")


def test_public_server_accepts_any_host() -> None:
    """A server on a public address accepts any Host header unless its names are set."""
    assert of("--host", ANYWHERE).accepted_hosts is None
    assert of("--allowed-hosts", "*").accepted_hosts is None
    named = of("--host", ANYWHERE, "--allowed-hosts", "A.example.org, b")
    assert named.accepted_hosts == frozenset({"a.example.org", "b"})


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("port", "65536", "a whole number from 0 to 65535"),
        ("port", "9" * 5000, "a whole number from 0 to 65535"),
        ("port", "-1", "a whole number"),
        ("port", "٣", "a whole number"),
        ("port", "8080.0", "a whole number"),
        ("workers", "0", "from 1 to 64"),
        ("threads", "0", "from 1 to 256"),
        ("body-limit-bytes", "10", "from 1024"),
        ("rows-limit", "0", "from 1 to"),
        ("header-deadline-s", "0", "a number of seconds"),
        ("body-deadline-s", "nan", "a number of seconds"),
        ("body-deadline-s", "inf", "a number of seconds"),
        ("poll-s", "soon", "a number of seconds"),
        ("drain-s", "-1", "a number of seconds"),
        ("host", "", "an address"),
        ("host", "http://localhost", "an address"),
        ("allowed-hosts", " , ", "host names"),
        ("access-log", "maybe", "yes or no"),
    ],
)
def test_nonsense_is_refused_by_flag_and_by_variable(flag: str, value: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=rf"^--{flag} must be .*{expected}.*\.$"):
        of(f"--{flag}={value}")
    if value:
        variable = PREFIX + flag.upper().replace("-", "_")
        with pytest.raises(SettingsError, match=rf"^{variable} must be "):
            of(**{variable: value})


def test_settings_are_setting_fields_and_can_not_be_changed() -> None:
    assert setting_fields().keys() == {field.name for field in dataclasses.fields(ServeSettings)}
    assert all(len(setting.text) > 10 for setting in setting_fields().values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        of().port = 1  # type: ignore[misc]


def command(*flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "wine_assets.serving", *flags], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--port", "x"], "--port must be a whole number from 0 to 65535, got 'x'.\n"),
        (["--prot", "1"], "Unrecognized arguments: --prot 1. `--help` lists the flags.\n"),
        (["--token-file", "/nothing/here"], "The token file /nothing/here can't be read: No such file or directory.\n"),
        (["--host", "192.0.2.1", "--port", "0"], "The server can't listen on 192.0.2.1 port 0: "),
    ],
)
def test_invalid_command_ends_with_status_2(flags: list[str], said: str) -> None:
    """An invalid option ends the server with status 2 and a sentence."""
    done = command("--grpc-port", "0", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command("--port", str(port))
    assert done.returncode == 2
    assert done.stderr.startswith(f"The server can't listen on 127.0.0.1 port {port}: Address already in use.")


def test_help_names_every_setting() -> None:
    done = command("--help")
    assert done.returncode == 0
    for field in dataclasses.fields(ServeSettings):
        assert f"--{field.name.replace('_', '-')} " in done.stdout


def test_a_server_imports_none_of_the_pipeline() -> None:
    program = (
        "import sys; from wine_assets.serving import __main__, server, workers;"
        "heavy = {'dagster', 'h11', 'opentelemetry', 'pandas', 'pydantic', 'sklearn', 'starlette', 'typer'};"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
