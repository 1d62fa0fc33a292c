"""A program that runs a search, which tests kill: `python -m ... FOLDER PARAMS WORKERS`."""

import json
import sys
from pathlib import Path

from wine_assets.errors import WineAssetsError
from wine_assets.execution.trials.backends import PoolBackend
from wine_assets.execution.trials.session import Session
from wine_assets.ml.search.params import SearchParams
from wine_assets_tests.execution.trials import acting


def main(folder: str, params: str, workers: str) -> None:
    """Run the search, and print how many trials count."""
    acting.register()
    session = Session.of(SearchParams.model_validate(json.loads(params)), acting.frame(), Path(folder))
    try:
        result = session.run(PoolBackend(workers=int(workers)), lambda *_: None)
    except WineAssetsError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{len(result.finished)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
