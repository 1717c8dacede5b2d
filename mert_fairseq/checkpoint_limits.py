"""What a checkpoint is held to before anything is made of it: nothing in it may be larger than the file itself.

A few kilobytes can claim terabytes: records that are compressed or laid over each other, settings that hold themselves, a tensor that
repeats one number.
"""

import os
import zipfile
from argparse import Namespace
from typing import Any

import torch
from torch import Tensor

MAX_DEPTH = 64  # of settings within settings; fairseq's own are four deep
MAX_VALUES = 2_000_000  # of a checkpoint without its weights; the optimizer's of 330M parameters hold some thousands
#: Of tensors whose bytes are their numbers: not complex, quantized, or two to a byte.
PLAIN = {torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64}
PLAIN |= {torch.float16, torch.bfloat16, torch.float32, torch.float64}
PLAIN |= {torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz, torch.float8_e8m0fnu}


def check_archive(path: str) -> None:
    """Raises ValueError for a zip file that torch did not write, records stored as they are, side by side, or that changed since."""
    with zipfile.ZipFile(path) as archive:
        _check_records(archive, os.path.getsize(path))
        changed = archive.testzip()  # torch's loader does not look at checksums
    if changed is not None:
        raise ValueError(f"{changed} does not have its checksum")


def _check_records(archive: zipfile.ZipFile, num_bytes: int) -> None:
    records = archive.infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ValueError("its records are compressed, as torch does not")
    if sum(record.file_size for record in records) > num_bytes:
        raise ValueError("its records claim more bytes than it has")
    outside = [record.filename for record in records if record.filename.startswith("/") or ".." in record.filename.split("/")]
    if outside:
        raise ValueError(f"a record named {outside[0][:80]!r}")


def check_values(content: Any, num_bytes: int) -> None:
    """Raises ValueError for settings without an end, for tensors that are not of plain real numbers, and for those that hold fewer than
    they claim or more than the file.

    Args:
        num_bytes: of the file.
    """
    pending, seen = [(content, 0)], 0
    while pending:
        value, depth = pending.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_VALUES:
            raise ValueError("its values hold themselves, or each other without end")
        if isinstance(value, Tensor):
            _check_tensor(value, num_bytes)
        elif isinstance(value, dict):
            pending += [(part, depth + 1) for part in value.values()]
        elif isinstance(value, (list, tuple, set)):
            pending += [(part, depth + 1) for part in value]
        elif isinstance(value, Namespace):
            pending.append((vars(value), depth + 1))


def _check_tensor(tensor: Tensor, num_bytes: int) -> None:
    if tensor.is_nested or tensor.dtype not in PLAIN:  # of a complex one half would be lost in a real weight, the others have no such bytes
        kind = "nested" if tensor.is_nested else str(tensor.dtype).removeprefix("torch.")
        raise ValueError(f"a tensor of kind {kind}; real numbers, integers or truth values wanted")
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        raise ValueError(f"a tensor of layout {tensor.layout} on {tensor.device}")
    held = tensor.untyped_storage().nbytes()
    if not tensor.numel() * tensor.element_size() <= held <= num_bytes:
        raise ValueError(f"a tensor of shape {list(tensor.shape)} over {held} bytes, in a file of {num_bytes}")
