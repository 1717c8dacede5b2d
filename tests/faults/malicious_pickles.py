"""Pickles that run something where Python's own loader reads them: each makes a file, the canary.

What runs differs (os.system, eval, a loader of torch's that is not the safe one), where it hides (among the weights, in the optimizer's
state, in a Namespace) and how it is written down (zip, torch's older form, plain pickles, a tar file).
"""

import argparse
import builtins
import io
import os
import pickle
import runpy
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Callable, Dict

import torch
from omegaconf import OmegaConf


class Call:
    """Pickled as the call of a function (REDUCE)."""

    def __init__(self, function: Callable, *arguments: Any):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


class Built:
    """Pickled as an object with a state of its own (BUILD); the state is where the call is."""

    def __init__(self, canary: Path):
        self.inner = Call(os.system, f"touch '{canary}'")


class Listed(list):
    """Pickled as a list that is filled by the items of a call's result (APPENDS)."""

    def __init__(self, canary: Path):
        self._canary = canary

    def __reduce__(self):
        return list, (), None, iter([Call(os.system, f"touch '{self._canary}'")])


def _touch(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()"


def _saved(content: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def _script(canary: Path) -> str:
    path = canary.with_name(f"{canary.name}.py")
    path.write_text(_touch(canary), encoding="utf-8")
    return str(path)


#: Name -> what is pickled, for a canary's path.
PAYLOADS: Dict[str, Callable[[Path], Any]] = {
    "os.system": lambda canary: Call(os.system, f"touch '{canary}'"),
    "builtins.eval": lambda canary: Call(eval, _touch(canary)),
    "builtins.exec": lambda canary: Call(exec, _touch(canary)),
    "builtins.open": lambda canary: Call(builtins.open, str(canary), "w"),
    "subprocess.call": lambda canary: Call(subprocess.call, ["touch", str(canary)]),
    "runpy.run_path": lambda canary: Call(runpy.run_path, _script(canary)),
    "an object's state": Built,
    "a list's items": Listed,
    "torch's own unsafe loader": lambda canary: Call(torch.storage._load_from_bytes, _saved(PAYLOADS["os.system"](canary))),
    "a pickle in a pickle": lambda canary: Call(pickle.loads, pickle.dumps(PAYLOADS["os.system"](canary))),
    "a Namespace": lambda canary: argparse.Namespace(arch="mert", data=PAYLOADS["os.system"](canary)),
    "settings of omegaconf": lambda canary: OmegaConf.create({"x": PAYLOADS["os.system"](canary)}, flags={"allow_objects": True}),
}

#: Name -> a checkpoint's content with the payload somewhere in it.
PLACES: Dict[str, Callable[[Dict[str, Any], Any], Any]] = {
    "as the whole": lambda state, harm: harm,
    "instead of the weights": lambda state, harm: {**state, "model": harm},
    "among the weights": lambda state, harm: {**state, "model": {**state["model"], "harm": harm}},
    "in the optimizer's state": lambda state, harm: {**state, "last_optimizer_state": {"state": {0: {"exp_avg": [harm]}}}},
    "in the settings": lambda state, harm: {**state, "cfg": {**state["cfg"], "bpe": harm}},
    "in args": lambda state, harm: {**state, "args": argparse.Namespace(arch="mert", harm=harm)},
}


def _tar(content: Any) -> bytes:
    """torch's first form, of before 2017."""
    with tarfile.open(fileobj=(stream := io.BytesIO()), mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(content, protocol=2)
            archive.addfile(_sized(tarfile.TarInfo(name), len(data)), io.BytesIO(data))
    return stream.getvalue()


def _sized(entry: tarfile.TarInfo, size: int) -> tarfile.TarInfo:
    entry.size = size
    return entry


#: Name -> the bytes of a file that holds some content.
FORMS: Dict[str, Callable[[Any], bytes]] = {
    "zip": _saved,
    "torch's older form": lambda content: _saved(content, _use_new_zipfile_serialization=False),
    "protocol 0": lambda content: pickle.dumps(content, protocol=0),
    "protocol 2": lambda content: pickle.dumps(content, protocol=2),
    "protocol 4": lambda content: pickle.dumps(content, protocol=4),
    "tar": _tar,
}
