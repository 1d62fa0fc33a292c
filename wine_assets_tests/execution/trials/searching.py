"""A program that runs a search, which tests kill: `python -m ... FOLDER PARAMS BACKEND`."""

import json
import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from wine_assets.errors import WineAssetsError
from wine_assets.execution.trials.backends import BackendParams
from wine_assets.execution.trials.session import Session
from wine_assets.ml.search.params import SearchParams
from wine_assets_tests.execution.trials import acting


def main(folder: str, params: str, backend: str) -> None:
    """Run the search, and print how many trials count."""
    acting.register()
    session = Session.of(SearchParams.model_validate(json.loads(params)), acting.frame(), Path(folder))
    try:
        asked: BackendParams = TypeAdapter(Annotated[BackendParams, Field(discriminator="kind")]).validate_json(backend)
        result = session.run(asked, lambda *_: None)
    except WineAssetsError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{len(result.finished)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
