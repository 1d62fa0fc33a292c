"""The messages and methods that a module was made of: `clients_messages.py MODULE`, each name with its numbers."""

import importlib
import json
import sys
from typing import Any


def message(descriptor: Any) -> dict[str, Any]:
    """Return the fields of a message: the number, the type, and whether there may be several."""
    fields = {field.name: [field.number, field.type, field.is_repeated] for field in descriptor.fields}
    return fields | {f"{nested.name}.": message(nested) for nested in descriptor.nested_types}


def main(module: str) -> dict[str, Any]:
    """Return all there is."""
    file = importlib.import_module(module).DESCRIPTOR
    methods = {
        f"{service.full_name}/{method.name}": [method.input_type.full_name, method.output_type.full_name]
        for service in file.services_by_name.values()
        for method in service.methods
    }
    return {"methods": methods, **{name: message(found) for name, found in file.message_types_by_name.items()}}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))  # noqa: T201 - its answer
