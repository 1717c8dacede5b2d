"""What a run is trained on, kept in its checkpoints: going on with other rows or other targets is refused, or asked for.

    {"rows": sha256 of the manifest's rows, "codes": a hash of each teacher, "cqt": another, or None where it is computed from crops}

Where files lie, into how many shards targets are divided and what their folders are called is not part of it.
"""

from typing import Any, Dict, List, Mapping, Optional, Sequence

from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError


def describe_data(manifest: Manifest, stores: Sequence[TargetStore], cqt: Optional[TargetStore]) -> Dict[str, Any]:
    """Of the training split, as it is kept."""
    teachers = [store.teacher_hash for store in stores]
    return {"rows": manifest.rows_hash(), "codes": teachers, "cqt": None if cqt is None else cqt.teacher_hash}


def check_same_data(before: Mapping[str, Any], now: Mapping[str, Any], manifest: str, folders: Sequence[str], accept: bool) -> None:
    """Refuses to go on with other data than a checkpoint's.

    Args:
        before: of the checkpoint; empty for a run that begins, and for checkpoints of older versions.
        manifest: its path, for the message.
        folders: of the code stores, and behind them of the CQT store if there is one, for the message.
        accept: take the other data.

    Raises:
        MertError: rows or teachers differ, and `accept` is False.
    """
    changed: List[str] = []
    if before.get("rows", now["rows"]) != now["rows"]:
        changed.append(f"{manifest} holds other rows")
    if before.get("codes", now["codes"]) != now["codes"]:
        changed.append(f"{', '.join(folders[: len(now['codes'])])}: codes of another teacher")
    if None not in (before.get("cqt"), now["cqt"]) and before["cqt"] != now["cqt"]:
        changed.append(f"{folders[-1]}: a CQT of other settings")
    if changed and not accept:
        raise MertError(
            f"the checkpoint was trained on other data ({'; '.join(changed)}); put that back, begin the epoch anew with "
            "checkpoint.reset_dataloader=true, or go on as it is with task.accept_new_data=true"
        )
