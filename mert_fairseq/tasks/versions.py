"""What a run was trained with, as a line of its log, written here and read here (for `mert report`):

versions {"mert_fairseq": "0.1.0", "torch": "2.11.0", ..., "device": "cpu"}
"""

import json
import platform
from importlib import metadata
from typing import Dict, Optional

import torch

from mert_fairseq.json_text import parse_json

DISTRIBUTIONS = {"mert_fairseq": "mert-fairseq", "fairseq": "fairseq-fixed", "hydra": "hydra-core", "numpy": "numpy"}
MARK = "versions {"


def versions_line(device: torch.device) -> str:
    """Of this process, training on `device`."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    found = {"python": platform.python_version(), "torch": torch.__version__, **_installed(), "device": name}
    return f"{MARK[:-1]}{json.dumps(found)}"


def read_versions(line: str) -> Optional[Dict[str, str]]:
    """What a line of the log says of versions; None if nothing."""
    _, mark, rest = line.partition(MARK)
    try:
        found = parse_json(f"{{{rest}") if mark else None
    except ValueError:
        return None
    return None if found is None else {str(key): str(value) for key, value in found.items()}


def _installed() -> Dict[str, str]:
    found = {}
    for name, distribution in DISTRIBUTIONS.items():
        try:
            found[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
