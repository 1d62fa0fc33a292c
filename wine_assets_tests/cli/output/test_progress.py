import io
import re
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from rich.console import Console

from wine_assets.cli.output.progress import Lines

USED: dict[str, Any] = {"wall_seconds": 1.25, "peak_memory_mib": 99.5, "requested_memory": "500Mi"}
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
def pressed(context: dg.AssetExecutionContext) -> dg.Output[int]:
    if not context.retry_number:
        raise ValueError("the press is stuck")
    return dg.Output(1, metadata=USED)


@dg.asset
def fermented(pressed: int) -> int:
    raise ValueError("the cellar is cold")


@pytest.fixture(scope="module")
def events() -> list[dg.DagsterEvent]:
    """What Dagster tells of a run in which one asset is made at the second try, and the next one fails."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([pressed, fermented], instance=instance, raise_on_error=False)
    return [*result.all_events]


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    with io.StringIO() as text:
        yield text


def lines(output: io.StringIO, events: list[dg.DagsterEvent], **terminal: Any) -> list[str]:
    with Lines(Console(file=output, width=80, **terminal), total=2) as shown:
        for event in events:
            shown.on_event(event)
    return output.getvalue().splitlines()


def test_each_asset_gets_one_line_with_what_it_used(output: io.StringIO, events: list[dg.DagsterEvent]) -> None:
    assert lines(output, events) == [
        "      pressed           failed, and will be tried again",
        "[1/2] pressed           done      1.25 s    99.5 MiB of 500Mi",
        "[2/2] fermented         FAILED",
    ]


def test_plain_text_holds_no_control_characters(output: io.StringIO, events: list[dg.DagsterEvent]) -> None:
    assert not CONTROL.search("\n".join(lines(output, events)))


def test_a_terminal_shows_what_is_being_made_and_is_left_clean(
    output: io.StringIO, events: list[dg.DagsterEvent]
) -> None:
    lines(output, events, force_terminal=True)
    raw = output.getvalue()
    assert "pressed ..." in raw or "starting" in raw
    assert raw.count("\x1b[?25l") == raw.count("\x1b[?25h") > 0, "the cursor is hidden and comes back"
    assert raw.rstrip("\n").endswith("\x1b[?25h") or raw.endswith("\x1b[2K")


def test_the_terminal_is_left_clean_when_a_run_is_interrupted(output: io.StringIO) -> None:
    with pytest.raises(KeyboardInterrupt), Lines(Console(file=output, force_terminal=True), total=1):
        raise KeyboardInterrupt
    assert output.getvalue().count("\x1b[?25l") == output.getvalue().count("\x1b[?25h")
