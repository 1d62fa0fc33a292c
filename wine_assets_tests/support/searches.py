"""A program that runs a search, which tests kill: `python -m ... FOLDER PARAMS BACKEND`."""

import json
import sys
from pathlib import Path

from wine_assets.errors import WineAssetsError
from wine_assets.search.backends import registry
from wine_assets.search.params import SearchParams
from wine_assets.search.search import Search
from wine_assets_tests.support import fake_family


def main(folder: str, params: str, backend: str) -> None:
    """Run the search, and print how many trials count."""
    fake_family.register()
    search = Search.open(SearchParams.model_validate(json.loads(params)), fake_family.frame(), Path(folder))
    try:
        result = search.run(registry.parse(json.loads(backend)), lambda *_: None)
    except WineAssetsError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{len(result.finished)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
