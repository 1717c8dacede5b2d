"""The Hugging Face folder: plain `transformers` loads it (AutoModel.from_pretrained(FOLDER)), no code of ours, no pickle.

    config.json, model.safetensors      HubertModel: all of the encoder, without the heads; in the file's metadata the hash of its weights
    heads.safetensors                   what predicts targets, for training to go on; transformers does not look at it
    preprocessor_config.json            Wav2Vec2FeatureExtractor: 24 kHz, the wave as it is
    README.md                           model card

Folders of published MERT models are read too: without heads, and with their weights pickled (torch's safe loader reads them).
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mert_fairseq.checkpoints import read_pickled
from mert_fairseq.errors import MertError
from mert_fairseq.export.hubert_config import SAME, hubert_config, settings_of
from mert_fairseq.export.hubert_names import is_head, to_hugging_face
from mert_fairseq.export.training_model import TrainingModel, codebooks_of
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.json_hash import is_unchanged, with_hash
from mert_fairseq.json_text import parse_json

CONFIG, WEIGHTS, HEADS, PREPROCESSOR = "config.json", "model.safetensors", "heads.safetensors", "preprocessor_config.json"
VERSION = 1  # of what config.json holds under "mert"
PREPROCESSING = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "sampling_rate": SAMPLE_RATE,
    "do_normalize": False,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": False,  # the first convolution's norm goes over padding too: batches are of clips of one length
}


@dataclass
class HuggingFaceFolder:
    """What a folder holds.

    Attributes:
        weights: the encoder's under Hugging Face's names, the heads' under their own.
        settings: of the training model; those of the encoder alone where the folder is not of this package.
        codebook_sizes: V of each; None if the folder holds no heads.
        dtype: that the weights had in training.
    """

    weights: Dict[str, Tensor]
    settings: Dict[str, Any]
    codebook_sizes: Optional[List[int]] = None
    dtype: str = "float32"


def write_folder(folder: Path, opened: TrainingModel) -> None:
    """Everything but the model card, into a folder that exists."""
    weights = {name: tensor.detach().contiguous() for name, tensor in opened.model.state_dict().items()}
    _write_weights(folder / WEIGHTS, to_hugging_face(weights))
    _write_weights(folder / HEADS, {name: tensor for name, tensor in weights.items() if is_head(name)})
    own = {"version": VERSION, "model": opened.settings, "codebook_sizes": codebooks_of(opened.model), "dtype": opened.dtype}
    _write_json(folder / CONFIG, hubert_config(opened.model) | {"mert": with_hash(own)})
    _write_json(folder / PREPROCESSOR, PREPROCESSING)


def read_folder(folder: Path) -> HuggingFaceFolder:
    """Raises MertError for what is missing, damaged, of another model or at another sample rate."""
    config = _read_json(folder / CONFIG)
    if config.get("model_type") not in ("hubert", "mert_model"):
        raise MertError(f"{folder}: a model of type {config.get('model_type')!r}, wanted 'hubert' or 'mert_model'")
    own = config.get("mert")
    if own is None:
        _check_rate(folder)
        return HuggingFaceFolder(_encoder_weights(folder), settings_of(config, str(folder)))
    if not isinstance(own, dict) or own.get("version") != VERSION:
        raise MertError(f"{folder / CONFIG}: its part 'mert' is not of version {VERSION}; export the checkpoint again")
    try:
        settings, sizes, dtype = dict(own["model"]), [int(size) for size in own["codebook_sizes"]], str(own["dtype"])
    except (KeyError, TypeError, ValueError) as error:
        raise MertError(f"{folder / CONFIG}: its part 'mert' is damaged ({error!r}); export the checkpoint again") from None
    if not is_unchanged(own):
        raise MertError(f"{folder / CONFIG}: its part 'mert' was changed since it was written; export the checkpoint again")
    _check_same_model(config, settings, str(folder))
    if not (folder / HEADS).exists():  # transformers' save_pretrained leaves them behind
        return HuggingFaceFolder(_encoder_weights(folder), settings, None, dtype)
    return HuggingFaceFolder(_encoder_weights(folder) | _read_weights(folder / HEADS), settings, sizes, dtype)


def _check_same_model(config: Dict[str, Any], settings: Dict[str, Any], folder: str) -> None:
    """Refuses a folder of which transformers would make another encoder than this package does."""
    theirs = settings_of(config, folder)
    unlike = [name for name in SAME.values() if theirs[name] != settings.get(name)]
    if unlike:
        raise MertError(f"{folder}: {CONFIG} and its part 'mert' differ in {', '.join(unlike)}; export the checkpoint again")


def _check_rate(folder: Path) -> None:
    rate = _read_json(folder / PREPROCESSOR).get("sampling_rate")
    if rate != SAMPLE_RATE:
        raise MertError(f"{folder}: a model of {rate} Hz audio, as plain HuBERT and MERT-v0 are; wanted one of {SAMPLE_RATE} Hz")


def _encoder_weights(folder: Path) -> Dict[str, Tensor]:
    """Of one file or of parts that an index lists; safetensors before pickles."""
    for name in (WEIGHTS, "pytorch_model.bin"):
        if (folder / name).is_file():
            return _read_weights(folder / name)
        if (folder / f"{name}.index.json").is_file():
            listed = _read_json(folder / f"{name}.index.json").get("weight_map")
            files = sorted(set(map(str, listed.values()))) if isinstance(listed, dict) else []
            outside = [file for file in files if Path(file).name != file or not (folder / file).is_file()]
            if outside or not files:
                raise MertError(f"{folder / name}.index.json: lists {outside or 'nothing'}; files of the folder itself wanted")
            return {key: tensor for file in files for key, tensor in _read_weights(folder / file).items()}
    raise MertError(f"{folder}: holds neither {WEIGHTS} nor pytorch_model.bin")


def _read_weights(path: Path) -> Dict[str, Tensor]:
    if path.suffix != ".safetensors":
        found = read_pickled(str(path), "not a file of weights", "copy the folder again")
    else:
        try:
            content = path.read_bytes()
            found = load(content)
            if _hash_said(content) not in (None, _hash_of(found)):
                raise SafetensorError("its weights are not those it was written with: sha256 differs")
        except FileNotFoundError:
            raise MertError(f"{path}: missing; copy or export the folder again") from None
        except (SafetensorError, OSError) as error:
            raise MertError(f"{path}: truncated or damaged ({str(error).splitlines()[0]}); copy or export the folder again") from None
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise MertError(f"{path}: holds no weights by name")
    return found


def _hash_of(weights: Dict[str, Tensor]) -> str:
    """Hex sha256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _hash_said(content: bytes) -> Optional[str]:
    """The hash in a file's metadata; None in one of another program, transformers' save_pretrained for one."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return (header.get("__metadata__") or {}).get("sha256")  # null is allowed there


def _write_weights(path: Path, weights: Dict[str, Tensor]) -> None:
    # Not save_file, which leaves a file that only its writer may read.
    path.write_bytes(save(weights, metadata={"format": "pt", "sha256": _hash_of(weights)}))


def _read_json(path: Path) -> Dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MertError(f"{path}: missing; give a folder that transformers loads, or RUN_DIR/checkpoints/checkpoint_last.pt") from None
    except (OSError, ValueError) as error:
        raise MertError(f"{path}: cannot be read ({error}); copy or export the folder again") from None
    if not isinstance(content, dict):
        raise MertError(f"{path}: no JSON object; copy or export the folder again")
    return content


def _write_json(path: Path, content: Dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
