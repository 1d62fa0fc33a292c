"""Dagster's private names that the project needs, tested with dagster>=1.13,<1.14 as pyproject.toml has it."""

# The data versions that a materialization recorded have no public reader.
from dagster._core.definitions.data_version import extract_data_version_from_entry, get_input_data_version_tag

# Dagster raises it in a step that is asked to stop.
from dagster._core.errors import DagsterExecutionInterruptedError

# It opens the instance of a folder with settings that differ from its dagster.yaml.
from dagster._core.instance.ref import InstanceRef

# The type of the error that a failed step records.
from dagster_shared.error import SerializableErrorInfo

__all__ = [
    "DagsterExecutionInterruptedError",
    "InstanceRef",
    "SerializableErrorInfo",
    "extract_data_version_from_entry",
    "get_input_data_version_tag",
]
