"""Reports as HTML files of the project's home, each under a name made of its content."""

from pathlib import Path

from wine_assets import settings
from wine_assets.files import atomic_write, sha256_of_bytes
from wine_assets.orchestration import retention


def write_report(page: str) -> Path:
    """Write a page of HTML and return its path."""
    content = page.encode()
    path = settings.home().reports / f"{sha256_of_bytes(content)[:16]}.html"
    atomic_write(path, content)
    retention.prune(path.parent, path.suffix, retention.KEPT_REPORTS, {path.stem})
    return path


def read_report(name: str) -> bytes | None:
    """Return the page that `write_report` wrote under this name, None where it is gone."""
    try:
        return (settings.home().reports / name).read_bytes()
    except FileNotFoundError:
        return None
