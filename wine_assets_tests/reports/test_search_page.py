from html.parser import HTMLParser

from wine_assets.reports.search_page import render, shown
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.result import SearchResult
from wine_assets.search.trials import TrialResult
from wine_assets_tests.support.search_builders import FAMILY, trial_result


class _Page(HTMLParser):
    """What a page says and refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.rows: list[list[str]] = []
        self.sources: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and data.strip():
            self.rows[-1].append(data)


def page(*outcomes: TrialResult, summary: str = "") -> _Page:
    return _Page(render(SearchResult(outcomes, ObjectiveParams(folds=2)), b"PNG", summary))


def test_the_page_names_the_best_the_simplest_and_the_trials_best_first() -> None:
    found = page(trial_result(0, 0.3, 0.5, C=1.0), trial_result(1, 0.3, 0.3, C=2.0), summary="Two trials.")
    numbers = [row[0] for row in found.rows]
    assert numbers == ["log loss", "best", "simplest", "trial", "1", "0"]
    assert found.rows[1][1:] == ["0.3000", "0.0000", "1", f"{FAMILY}(C=2)"]
    assert found.rows[-1][1:3] == ["0.4000", "0.1000"]
    assert "Two trials." in found.text


def test_the_page_needs_nothing_beside_it() -> None:
    assert [source.partition(",")[0] for source in page(trial_result(0, 0.3, C=1.0)).sources] == [
        "data:image/png;base64"
    ]


def test_a_hundred_trials_are_listed_of_more() -> None:
    found = page(*(trial_result(number, number / 1000, C=1.0) for number in range(150)))
    assert [row[0] for row in found.rows[4:]] == [str(number) for number in range(100)]


def test_failures_are_listed_with_their_reasons_and_no_more_than_twenty() -> None:
    failures = [trial_result(number, state="failed", C=1.0) for number in range(1, 26)]
    found = page(trial_result(0, 0.3, C=1.0), *failures)
    assert found.rows[-1] == ["20", "why 20", f"{FAMILY}(C=1)", "And 5 more."]
    assert "more." not in page(trial_result(0, 0.3, C=1.0), *failures[:20]).text


def test_a_search_without_failures_says_nothing_of_them() -> None:
    assert "failed" not in page(trial_result(0, 0.3, C=1.0), trial_result(1, 0.9, state="pruned", C=1.0)).text


def test_what_trials_say_is_text_and_no_markup() -> None:
    bad = TrialResult(1, 1, FAMILY, {"C": "<b>"}, "failed", reason="<script>alert(1)</script> $summary")
    found = page(trial_result(0, 0.3, C=1.0), bad, summary="<i>$picture</i>")
    assert found.rows[-1][1:] == ["<script>alert(1)</script> $summary", f"{FAMILY}(C=<b>)"]
    assert "<i>$picture</i>" in found.text


def test_a_candidate_is_shown_as_people_read_it() -> None:
    assert shown(trial_result(0, C=0.123456789, solver="saga", max_iter=100)) == (
        f"{FAMILY}(C=0.1235, solver=saga, max_iter=100)"
    )
