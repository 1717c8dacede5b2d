"""What results keep of how they were made: when, by which command, with which versions."""

import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Dict

PACKAGES = ("mert-fairseq", "torch", "numpy", "scipy", "scikit-learn", "mir_eval", "soundfile")
WHERE_USED = ("transformers",)


def versions() -> Dict[str, str]:
    """Of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in (*PACKAGES, *(name for name in WHERE_USED if name in sys.modules)):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def made_now() -> Dict[str, str]:
    """Date (UTC) and command line."""
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "command": shlex.join(sys.argv)}
