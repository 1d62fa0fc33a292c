"""`wine-assets models`: what the repository of released models holds, and which version is champion."""

import getpass
import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from wine_assets import settings
from wine_assets.cli.error_handling import FAILED, handle_errors
from wine_assets.cli.output import terminal
from wine_assets.errors import RepositoryError, WineAssetsError

KEPT = 10
DEFAULT_NAME = "wine"
_DIGITS = 12

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="List, verify, promote, roll back and prune the released models.",
)

Name = Annotated[
    str, typer.Option("--name", help="Name of the model, a folder of the home's `models`.", metavar="TEXT")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Version = Annotated[int, typer.Argument(help="Number of the version.", metavar="VERSION", show_default=False)]
OptionalVersion = Annotated[
    int | None, typer.Argument(help="Number of the version; the champion by default.", metavar="[VERSION]")
]


@app.command("list")
@handle_errors
def list_versions(*, name: Name = DEFAULT_NAME, as_json: AsJson = False) -> None:
    """List the versions, newest last, and mark the champion."""
    repository = _repository(name)
    champion = repository.champion()
    numbers = repository.versions() if as_json else _all_versions(repository)
    rows = [_row(repository, number, champion) for number in numbers]
    if as_json:
        _print_json(rows)
        return
    _print_table(
        ("version", "published", "family", "accuracy", "log-loss", "SHA-256", ""),
        (
            (
                *(str(row["version"]), row["published"], row["family"], _figure(row, "accuracy")),
                *(_figure(row, "log_loss"), row["model_sha256"][:_DIGITS], "champion" if row["champion"] else ""),
            )
            for row in rows
        ),
    )


@app.command()
@handle_errors
def show(version: OptionalVersion = None, *, name: Name = DEFAULT_NAME, as_json: AsJson = False) -> None:
    """Show what a version says of itself: features, parameters, figures, and where it comes from."""
    import msgspec

    stored = _repository(name).read(version)
    if as_json:
        _print_json({"version": stored.version, **msgspec.to_builtins(stored.manifest)})
        return
    content, origin = stored.manifest.content, stored.manifest.provenance
    _print_table(("", f"{name}, version {stored.version}"), _described(content, origin, stored))
    _print_table(
        ("feature", "lowest", "median", "highest"),
        ((f.name, f"{f.low:g}", f"{f.median:g}", f"{f.high:g}") for f in content.features),
    )


@app.command()
@handle_errors
def verify(version: OptionalVersion = None, *, name: Name = DEFAULT_NAME, as_json: AsJson = False) -> None:
    """Check a version, or all: checksums, and the answers to the samples; exit with 1 when one fails."""
    repository = _repository(name)
    numbers = _all_versions(repository) if version is None else [version]
    failures = {number: failure for number in numbers if (failure := _failure(repository, number))}
    if as_json:
        _print_json([{"version": number, "error": failures.get(number)} for number in numbers])
    else:
        for number in numbers:
            sys.stdout.write(f"version {number}: {failures.get(number, 'whole, and answers its samples')}\n")
    if failures:
        raise typer.Exit(FAILED)


@app.command()
@handle_errors
def promote(version: Version, *, name: Name = DEFAULT_NAME, as_json: AsJson = False) -> None:
    """Make a version the champion; servers follow within a second."""
    repository = _repository(name)
    _tell(repository.promote(version, expected=repository.champion(), by=_person()), as_json=as_json)


@app.command()
@handle_errors
def rollback(*, name: Name = DEFAULT_NAME, as_json: AsJson = False) -> None:
    """Make the version champion again that was it before."""
    _tell(_repository(name).rollback(by=_person()), as_json=as_json)


@app.command()
@handle_errors
def history(*, name: Name = DEFAULT_NAME, as_json: AsJson = False) -> None:
    """Show which version was champion since when, and by whose hand."""
    import msgspec

    moves = _repository(name).history()
    if as_json:
        _print_json(msgspec.to_builtins(moves))
        return
    rows = ((m.at, str(m.version), "rolled back" if m.rollback else "promoted", m.by) for m in moves)
    _print_table(("at", "version", "", "by"), rows)


@app.command()
@handle_errors
def prune(
    *,
    keep: Annotated[int, typer.Option(help="How many of the newest versions stay.", min=1)] = KEPT,
    name: Name = DEFAULT_NAME,
    as_json: AsJson = False,
) -> None:
    """Remove old versions; the champion and the one before it always stay."""
    repository = _repository(name)
    _all_versions(repository)
    removed = repository.prune(keep)
    if as_json:
        _print_json({"removed": removed})
        return
    sys.stdout.write(f"Removed: {', '.join(map(str, removed)) or 'nothing'}.\n")


def _repository(name: str) -> Any:
    from wine_assets.inference import ModelRepository

    return ModelRepository.named(settings.home().models, name)


def _all_versions(repository: Any) -> list[int]:
    """Return the versions; raise RepositoryError where there is none, as for a name that is mistyped."""
    numbers: list[int] = repository.versions()
    if not numbers:
        raise RepositoryError(f"{repository.folder} has no versions. Make one: make run.")
    return numbers


def _row(repository: Any, number: int, champion: Any) -> dict[str, Any]:
    """Return what is listed of a version; a damaged one is listed with its error."""
    row = {"version": number, "champion": champion is not None and champion.version == number}
    try:
        manifest = repository.read(number).manifest
    except WineAssetsError as error:
        return row | {"published": "", "family": str(error), "metrics": {}, "model_sha256": ""}
    content = manifest.content
    return row | {
        "published": manifest.provenance.created_at,
        "family": content.family,
        "metrics": content.metrics,
        "model_sha256": content.model_sha256,
    }


def _figure(row: dict[str, Any], metric: str) -> str:
    value = row["metrics"].get(metric)
    return "" if value is None else f"{value:.4f}"


def _described(content: Any, origin: Any, stored: Any) -> Iterable[tuple[str, str]]:
    yield "family", content.family
    yield "parameters", ", ".join(f"{key}={value}" for key, value in content.parameters.items())
    yield "metrics", ", ".join(f"{key} {value:.4f}" for key, value in content.metrics.items())
    yield "parity", f"{content.parity.max_difference:.2g} over {content.parity.rows:,} rows"
    yield "model", f"{content.model_bytes:,} bytes, SHA-256 {content.model_sha256}"
    yield "manifest", f"SHA-256 {stored.manifest_sha256}, {'vouched for' if stored.authenticated else 'never promoted'}"
    yield "data", f"fingerprint {content.data_fingerprint}"
    yield "published", f"{origin.created_at}, run {origin.run_id}, revision {origin.git_revision or 'unknown'}"
    yield "machine", origin.machine


def _failure(repository: Any, number: int) -> str | None:
    try:
        repository.verify(number)
    except WineAssetsError as error:
        return str(error)
    return None


def _tell(promotion: Any, *, as_json: bool) -> None:
    import msgspec

    if as_json:
        _print_json(msgspec.to_builtins(promotion))
        return
    sys.stdout.write(f"Version {promotion.version} is the champion since {promotion.at}.\n")


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    console = terminal.console()
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
