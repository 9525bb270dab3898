"""Libraries of the extra `data`, imported where they are used."""

import importlib
from typing import Any

from infra.errors import MissingExtraError


def extra(module: str) -> Any:
    """A module of the extra `data`, or MissingExtraError."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"preparing data needs {module.partition('.')[0]}", "pip install 'provision-spot[data]'"
        ) from error
