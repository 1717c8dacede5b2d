"""The folder of a fitted teacher: its weights and a small JSON that says what they are.

    TEACHER/config.json         {"format": "mert-rvqvae", "version": 1, "sha256": ..., "settings": {...}, "report": {...}, ...}
    TEACHER/model.safetensors   the weights; `sha256` is of this file, `content_sha256` of the JSON's other values

Writer beside reader; `format` names the kind of teacher, `settings` fix its shapes and arithmetic, `report` has its figures.
"""

import glob
import hashlib
import json
import math
import tempfile
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple, Union

import safetensors
import safetensors.torch
from torch import Tensor

from mert_fairseq.data.part_files import remove_abandoned, restore_replaced, written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.json_hash import is_unchanged, with_hash
from mert_fairseq.json_text import parse_json

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
VERSION = 1
MAX_SETTING = 1 << 20  # a whole number in settings; n_fft is 4096
FIT_COMMANDS = {  # of each format
    "mert-rvqvae": "mert teacher fit rvqvae MANIFEST_DIR OUT",
    "mert-kmeans": "mert teacher fit kmeans MANIFEST_DIR OUT",
    "mert-melrvq": "mert teacher fit melrvq MANIFEST_DIR OUT",
}


def serialise(state: Mapping[str, Tensor]) -> bytes:
    """The bytes of the weights file."""
    return safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_free(folder: Union[str, Path]) -> Path:
    """The folder, if a teacher can be written there: new, empty, or holding a teacher that is replaced.

    What writers left that were killed goes; a teacher that they took away comes back.
    """
    folder = Path(folder)
    restore_replaced(folder)
    remove_abandoned(folder.absolute().parent, f".{glob.escape(folder.absolute().name)}.*.part")
    if folder.exists() and not (folder / CONFIG_FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise MertError(f"{folder} holds something else; a teacher wants a new or empty folder: give another OUT")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    try:
        tempfile.TemporaryDirectory(prefix=".mert", dir=above).cleanup()
    except OSError as error:
        raise MertError(f"{folder}: cannot be written, {above} is no folder to write in ({error.strerror}); give another OUT") from None
    return folder


def write_teacher(
    folder: Union[str, Path], format_name: str, weights: bytes, settings: Dict[str, Any], report: Dict[str, Any]
) -> str:
    """Writes the two files; a folder that is there is complete. Returns the hash."""
    folder = check_free(folder)
    digest = hashlib.sha256(weights).hexdigest()
    config = dict(format=format_name, version=VERSION, sha256=digest, settings=settings, report=report)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(folder) as part:
            part.mkdir()
            (part / WEIGHTS_FILE).write_bytes(weights)
            (part / CONFIG_FILE).write_text(json.dumps(with_hash(config), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise MertError(f"{folder}: cannot be written ({error.strerror}); make room or give another OUT") from error
    return digest


def read_config(folder: Path, formats: Tuple[str, ...], settings_keys: Mapping[str, Any]) -> Dict[str, Any]:
    """The JSON of a teacher of one of `formats`, with exactly the settings named, which are fields of a dataclass."""
    path, fit = folder / CONFIG_FILE, FIT_COMMANDS[formats[0]]
    if not path.is_file():
        raise MertError(f"no teacher in {folder} (looked for {CONFIG_FILE} and {WEIGHTS_FILE}); fit one: {fit}")
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
        found = config["format"], config["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise MertError(f"{path} is not the {CONFIG_FILE} of a teacher ({error!r}); fit one: {fit}") from error
    if found[0] not in formats or found[1] != VERSION:
        wanted = " or ".join(formats)
        raise MertError(f"{path} has format {found[0]!r} version {found[1]!r}; this version reads {wanted!r} {VERSION}: {fit}")
    known = set(settings_keys)
    if not isinstance(config.get("settings"), dict) or set(config["settings"]) != known or "sha256" not in config:
        raise MertError(f"{path} lacks sha256 or has other settings than {', '.join(sorted(known))}; fit anew: {fit}")
    values = config["settings"]
    wrong = [name for name, wanted in settings_keys.items() if not _is_of(values[name], wanted.type)]
    if wrong:
        kind = settings_keys[wrong[0]].type.__name__
        raise MertError(f"{path}: setting {wrong[0]}={str(values[wrong[0]])[:40]!r}; a finite {kind} needed: fit anew: {fit}")
    if not is_unchanged(config):
        raise MertError(f"{path} was changed since it was written (its sha256 differs); copy the folder again or fit anew: {fit}")
    return config


def _is_of(value: Any, kind: type) -> bool:
    """Whether a value of a JSON file can be a setting of that type."""
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind and (kind is not int or abs(value) < MAX_SETTING)


def read_weights(folder: Path, config: Dict[str, Any]) -> Dict[str, Tensor]:
    """The weights, after their hash was compared with the JSON's."""
    path, fit = folder / WEIGHTS_FILE, FIT_COMMANDS[config["format"]]
    if not path.is_file():
        raise MertError(f"{path} is missing beside its {CONFIG_FILE}; copy the whole folder again or fit anew: {fit}")
    found = sha256_of(path)
    if found != config["sha256"]:
        raise MertError(f"{path} has sha256 {found[:12]}, {CONFIG_FILE} says {str(config['sha256'])[:12]}: cut short or changed; "
                        f"copy the folder again or fit anew: {fit}")
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise MertError(f"{path} is no safetensors file ({error}); fit anew: {fit}") from error
