"""JSON files that hold their own hash, so that a change by hand or by a failing disk is noticed; those without one are older."""

import hashlib
import json
from typing import Any, Dict, Mapping

KEY = "content_sha256"


def content_hash(content: Mapping[str, Any]) -> str:
    """Hex sha256 of what is kept as JSON, whatever the order of its keys and the layout; an own hash among it does not count."""
    text = json.dumps({key: value for key, value in content.items() if key != KEY}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def with_hash(content: Mapping[str, Any]) -> Dict[str, Any]:
    """The content and its hash."""
    return {**content, KEY: content_hash(content)}


def is_hashed(content: Mapping[str, Any]) -> bool:
    """Whether content holds a hash at all."""
    return content.get(KEY) not in (None, "")


def is_unchanged(content: Mapping[str, Any]) -> bool:
    """Whether content is as it was written, as far as it can tell."""
    return not is_hashed(content) or content[KEY] == content_hash(content)
