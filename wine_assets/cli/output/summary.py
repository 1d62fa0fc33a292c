"""What a person, or a machine, wants to know after a run."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from wine_assets.cli import job_config
from wine_assets.cli.options import in_flags
from wine_assets.cli.output import terminal

if TYPE_CHECKING:
    from wine_assets.orchestration.configs import SourceConfig

NEXT_COMMAND = "make dev"
SERVE_COMMAND = "make serve"
NOTHING_TO_DO = "Nothing to do: every asset is up to date with its source, its config and the code."
_SHOWN_FEATURES = 13
_USED = ("wall_seconds", "cpu_seconds", "peak_memory_mib", "requested_memory", "requested_cpu")
_LINEAGES = {
    "binarized_wine": ("binarized_wine", "raw_wine"),
    "model_evaluation": ("model_evaluation", "wine_model"),
    "wine_model_onnx": ("wine_model_onnx", "wine_model"),
    "wine_predictions": ("wine_predictions", "wine_model_onnx", "wine_model"),
    "released_model": ("released_model", "wine_model_onnx", "wine_model"),
}
"""What is shown of an asset belongs to the data, or to the model, at the end of its line."""
Assets = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What a run was to make, and of which rows."""

    launched: list[str]
    stale: list[str]
    """The assets that were not up to date before the run."""
    source: "SourceConfig"


def result(assets: Assets, plan: Plan, finished: Any) -> dict[str, Any]:
    """Return everything that is shown, as plain values; `assets` holds the metadata of each asset by its name.

    What a failed run left of another model than `hyperparameters` has, or of other rows than `data`, is None.
    """
    made = [] if finished is None else [*finished.made]
    failed = finished is not None and not finished.success
    current = {name for name in assets if name in made or name not in plan.stale}
    shown = {name: metadata for name, metadata in assets.items() if not failed or _is_of_what_is_shown(assets, name)}
    evaluation, onnx = shown.get("model_evaluation", {}), shown.get("wine_model_onnx", {})
    released = shown.get("released_model", {})
    return {
        "status": "nothing to do" if finished is None else "succeeded" if finished.success else "failed",
        "error": "" if finished is None else in_flags(finished.error),
        "run_id": None if finished is None else finished.run_id,
        "launched": plan.launched,
        "made": made,
        "failed": [] if finished is None else [*finished.failed],
        "data": {
            **_rows(shown.get("raw_wine", {}), job_config.origin(plan.source) if "raw_wine" in current else None),
            "binarized_classes": shown.get("binarized_wine", {}).get("classes"),
        },
        "hyperparameters": shown.get("wine_model", {}).get("hyperparameters"),
        "evaluation": {"metrics": evaluation.get("metrics"), "reference": evaluation.get("reference_metrics")},
        "warnings": _warnings(shown),
        "parity_max_difference": onnx.get("parity_max_difference"),
        "predictions": shown.get("wine_predictions", {}).get("sample"),
        "assets": {
            name: {key: metadata.get(key) for key in (*_USED, "run_id")} | {"up_to_date": name in current}
            for name, metadata in assets.items()
        },
        "model": onnx.get("path"),
        "released": {"repository": released.get("repository"), "version": released.get("version")},
        "report": evaluation.get("report"),
        "next": NEXT_COMMAND,
    }


def _warnings(assets: Assets) -> dict[str, str]:
    """Return what each asset's materialization warned of, by its name."""
    said = {name: str(metadata.get("warnings") or "none") for name, metadata in assets.items()}
    return {name: in_flags(text) for name, text in said.items() if text != "none"}


def _is_of_what_is_shown(assets: Assets, name: str) -> bool:
    """Tell whether an asset was made of the newest of what its line ends with."""
    return all(
        above in assets and assets[below]["inputs"].get(above) == assets[above]["data_version"]
        for below, above in itertools.pairwise(_LINEAGES.get(name, ()))
    )


def _rows(raw: dict[str, Any], wanted: str | None) -> dict[str, Any]:
    """Return what is known of the rows, which `wanted` holds as well, unless None, wherever they were read."""
    read = raw.get("origin")
    origin = read if wanted is None else wanted
    return {
        "origin": origin,
        "same_content_as": None if origin == read else read,
        "rows": raw.get("dagster/row_count"),
        "classes": raw.get("classes"),
        "features": raw.get("features"),
        "indexes_left_out": raw.get("indexes_left_out"),
    }


def show(values: dict[str, Any], console: Console) -> None:
    """Print the result for a person."""
    if values["status"] == "failed":
        _show_failure(values)
        return
    console.print()
    if values["status"] == "nothing to do":
        console.print(NOTHING_TO_DO, soft_wrap=True)
        console.print()
    _show_data(values, console)
    _show_evaluation(values["evaluation"], console)
    _show_predictions(values["predictions"], console)
    _show_assets(values["assets"], console)
    _show_warnings(values["warnings"], console)
    _show_places(values, console)


def _show_warnings(warnings: dict[str, str], console: Console) -> None:
    console.print()
    for name, text in warnings.items():
        console.print(f"Warning {name}: {text}", style="yellow", soft_wrap=True)


def _show_failure(values: dict[str, Any]) -> None:
    error = terminal.console(stderr=True)
    error.print(values["error"], style="red", soft_wrap=True)
    error.print(f"{_standing(values)} See the run {values['run_id']} with: {NEXT_COMMAND}.", soft_wrap=True)


def _standing(values: dict[str, Any]) -> str:
    """Return what a failed run made, and what it left as it was."""
    made = values["made"]
    kept = [name for name in values["assets"] if name not in made]
    sentences = []
    if made:
        sentences.append(f"Made in this run: {', '.join(made)}.")
    if made and kept:
        sentences.append(f"As they were: {', '.join(kept)}.")
    if "wine_model_onnx" not in values["assets"]:
        sentences.append("There is no model yet.")
    return " ".join(sentences) or "The last good data and model stay as they were."


def _show_data(values: dict[str, Any], console: Console) -> None:
    data = values["data"]
    table = Table.grid(padding=(0, 2))
    same = f", with the same content as {data['same_content_as']}" if data["same_content_as"] else ""
    table.add_row("Data", f"{data['origin']}{same}")
    table.add_row("Rows", f"{data['rows']:,} in classes {_counts(data['classes'])}")
    table.add_row("Features", _features(data))
    table.add_row("Binarized", _counts(data["binarized_classes"]))
    table.add_row("Hyperparameters", ", ".join(f"{name}={value}" for name, value in values["hyperparameters"].items()))
    table.add_row(
        "ONNX parity", f"probabilities differ from scikit-learn's by at most {values['parity_max_difference']:.2g}"
    )
    console.print(table)


def _show_evaluation(evaluation: dict[str, Any], console: Console) -> None:
    rows = (
        (name.replace("_", " "), f"{value:.4f}", f"{evaluation['reference'][name]:.4f}")
        for name, value in evaluation["metrics"].items()
    )
    _print_table(console, "Cross-validated on held-out rows", ("metric", "this model", "reference (C=0.01)"), rows)


def _show_predictions(sample: list[dict[str, Any]], console: Console) -> None:
    rows = ((str(row["row"]), str(row["target"]), str(row["label"]), f"{row['probability']:.4f}") for row in sample)
    _print_table(console, "Predictions of the ONNX model", ("row", "true class", "predicted", "P(class 1)"), rows)


def _show_assets(assets: dict[str, dict[str, Any]], console: Console) -> None:
    rows = (
        (name, f"{used['wall_seconds']:.2f} s", f"{used['peak_memory_mib']:.1f} MiB", str(used["requested_memory"]))
        for name, used in assets.items()
    )
    _print_table(console, "Assets", ("asset", "time", "peak memory", "asked for"), rows)


def _show_places(values: dict[str, Any], console: Console) -> None:
    released = values["released"]
    console.print(f"Model   {released['repository']}, version {released['version']}", soft_wrap=True)
    console.print(f"Report  {values['report']}", soft_wrap=True)
    console.print(f"Next    {NEXT_COMMAND} (look at it), {SERVE_COMMAND} (predict with it)")


def _print_table(console: Console, title: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD if console.is_terminal else None)
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(table)


def _features(data: dict[str, Any]) -> str:
    names, left_out = data["features"] or [], data["indexes_left_out"]
    shown = ", ".join(names[:_SHOWN_FEATURES])
    more = f" and {len(names) - _SHOWN_FEATURES} more" if len(names) > _SHOWN_FEATURES else ""
    return f"{len(names)}: {shown}{more}" + (f"; left out as an index: {', '.join(left_out)}" if left_out else "")


def _counts(classes: dict[str, int]) -> str:
    return ", ".join(f"{label}: {count:,}" for label, count in classes.items())
