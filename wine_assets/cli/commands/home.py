"""`wine-assets home`: makes the project's Dagster home, and prints where it is."""

import sys

from wine_assets.cli.error_handling import handle_errors


@handle_errors
def home() -> None:
    """Make the project's Dagster home where there is none, and print where it is."""
    from wine_assets import settings
    from wine_assets.orchestration import instance

    place = settings.home()
    instance.prepare(place)
    sys.stdout.write(f"{place.dagster}\n")
