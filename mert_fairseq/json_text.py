"""JSON as it may be found in a file that somebody else made."""

import json
from typing import Any


def parse_json(text: str) -> Any:
    """What a JSON text says. Raises ValueError for anything else, brackets nested deeper than Python follows them among it."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
