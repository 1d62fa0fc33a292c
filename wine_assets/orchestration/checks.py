"""Results of data checks as Dagster records them, and what a failed one stops."""

from collections.abc import Generator, Iterator, Sequence

import dagster as dg

from wine_assets.data import sources
from wine_assets.data.checks import READABLE, CheckResult
from wine_assets.errors import SourceError


def asset_check_result(result: CheckResult) -> dg.AssetCheckResult:
    """Return a result in Dagster's terms: a blocking check is an error, the others warn."""
    return dg.AssetCheckResult(
        check_name=result.name,
        passed=result.passed,
        severity=dg.AssetCheckSeverity.ERROR if result.blocking else dg.AssetCheckSeverity.WARN,
        description=result.message,
        metadata=dict(result.metadata),
    )


def require(results: Sequence[CheckResult]) -> Iterator[dg.AssetCheckResult]:
    """Yield every result; then raise dg.Failure with the sentences of the blocking checks that failed, if any did."""
    yield from map(asset_check_result, results)
    sentences = [result.message for result in results if result.blocking and not result.passed]
    if sentences:
        raise dg.Failure(" ".join(sentences), allow_retries=False)


def warnings(results: Sequence[CheckResult]) -> list[str]:
    """Return the sentences of the failed checks that do not block."""
    return [result.message for result in results if not result.blocking and not result.passed]


def read(source: sources.Source) -> Generator[dg.AssetCheckResult, None, sources.Table]:
    """Return the rows of a source, and yield the result of the check `readable`; raise SourceError as it failed."""
    try:
        table = sources.load(source)
    except SourceError as error:
        yield asset_check_result(CheckResult(READABLE.name, passed=False, blocking=True, message=str(error)))
        raise
    yield asset_check_result(CheckResult(READABLE.name, passed=True, blocking=True, message="The source was read."))
    return table
