"""JSON files of work that is kept: each with its hash, which is demanded, as a flipped bit can take it away as well.

A file without one, as earlier versions wrote it, is work that is not finished: it is done again, and the log says so.
"""

import functools
import json
import logging
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

from mert_fairseq.data.part_files import write_whole
from mert_fairseq.errors import MertError
from mert_fairseq.json_hash import KEY, is_hashed, is_unchanged, with_hash
from mert_fairseq.json_text import parse_json

logger = logging.getLogger(__name__)

GOES_ON = "make room, and the same command goes on"
MADE_AGAIN = "remove it, and the same command makes it again"


def read_kept(path: Path, mend: str = MADE_AGAIN) -> Optional[Dict[str, Any]]:
    """What was kept in a file; None if nothing was, or what was has no hash.

    Args:
        mend: what to do about a file that is damaged.

    Raises:
        MertError: it cannot be read, or is not as it was written.
    """
    content = _parsed(path, mend)
    if content is not None and not is_hashed(content):
        say_undone(path)
        return None
    return content and {key: value for key, value in content.items() if key != KEY}


def write_kept(path: Path, content: Mapping[str, Any]) -> None:
    """Keeps values, whole or not at all; raises MertError where they cannot be written, ValueError for numbers that JSON does not have."""
    write_whole(path, json_bytes(with_hash(content)), GOES_ON)


def unlike_before(path: Path, wanted: Mapping[str, Any], has_work: bool) -> Dict[str, Tuple[Any, Any]]:
    """In what the settings differ that a folder was begun with: (before, now) by name. Those of a new folder are kept in it.

    Args:
        path: of the settings in their folder.
        wanted: settings of now, values that JSON has.
        has_work: whether the folder holds work, which is of the settings that it was begun with.

    Raises:
        MertError: the settings cannot be read, so that it is not known what the work is of.
    """
    wanted, anew = json.loads(json.dumps(wanted)), f"remove {path.parent} to begin anew"
    found = _parsed(path, anew)
    if found is None and has_work:
        raise MertError(f"{path}: missing, so that nobody knows what the work beside it is of; {anew}")
    if found is None or found == wanted:  # the same without a hash: of an earlier version
        write_kept(path, wanted)
        return {}
    if not is_hashed(found):
        raise unreadable(path, "it has no hash", anew)
    del found[KEY]
    return {name: (found.get(name), wanted.get(name)) for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)}


def unreadable(path: Path, why: object, mend: str = MADE_AGAIN) -> MertError:
    """What to raise for a kept file."""
    return MertError(f"{path}: cannot be read ({why}); {mend}")


@functools.cache
def say_undone(path: Path) -> None:
    """Once in a process: pieces are asked for again and again."""
    logger.warning(f"{path}: has no checksum, as earlier versions wrote it; this is done again")


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """Text of a JSON file; raises ValueError for numbers that JSON does not have."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _parsed(path: Path, mend: str) -> Optional[Dict[str, Any]]:
    """An object, as it was written if it has a hash; None if there is no such file."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise unreadable(path, error, mend) from None
    if not isinstance(content, dict):
        raise unreadable(path, "no object", mend)
    if not is_unchanged(content):
        raise unreadable(path, "it was changed since it was written", mend)
    return content
