"""`wine-assets schema`: prints the JSON Schema of the hyperparameters."""

import json
import sys

from wine_assets.models.registry import json_schema


def schema() -> None:
    """Print the JSON Schema of the hyperparameters of every family."""
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
