"""config.json of other people's audio models, looked at before transformers sees it.

For some settings transformers fetches code from the Hub and runs it, whatever `trust_remote_code` says: an attention whose name is that of
a repository, a quantizer's kernels, a backbone. A folder that asks for any of them is refused.
"""

from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

from mert_fairseq.errors import MertError
from mert_fairseq.json_text import parse_json
from mert_fairseq.models.mert.size import MAX_LAYERS

CONFIG, ADAPTER = "config.json", "adapter_config.json"
#: Of transformers, what takes a wave and gives hidden states; none of them has a part that is another model.
AUDIO_TYPES = ("data2vec-audio", "hubert", "sew", "sew-d", "unispeech", "unispeech-sat", "wav2vec2", "wav2vec2-conformer", "wavlm")
ATTENTION = ("eager", "sdpa")  # torch's own; for flash_attention_2 transformers fetches kernels where flash_attn is not installed
OTHER_FILES = ("configuration_files", "transformers_weights")


def read_config(folder: Path) -> Dict[str, Any]:
    """Content of config.json. Raises MertError for a file that is missing or holds no JSON object."""
    try:
        config = parse_json((folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError) as error:
        raise MertError(f"{folder / CONFIG}: cannot be read ({error}); give a folder that transformers loads") from None
    return config


def read_audio_config(folder: Path) -> Dict[str, Any]:
    """Content of config.json, of a model that takes a wave and for which nothing is fetched.

    Raises:
        MertError: the model is another or too deep, or a setting makes transformers fetch something or look into other files.
    """
    path, config = folder / CONFIG, read_config(folder)
    kind = config.get("model_type")
    if kind not in AUDIO_TYPES:
        raise MertError(f"{path}: model_type={_short(kind)}: transformers' models that take a wave are {', '.join(AUDIO_TYPES)}")
    layers = config.get("num_hidden_layers", 0)
    if isinstance(layers, (int, float)) and layers > MAX_LAYERS:  # transformers would build them until the memory is full
        raise MertError(f"{path}: num_hidden_layers={_short(layers)}: at most {MAX_LAYERS} are built; download the folder again")
    if (folder / ADAPTER).exists():
        raise MertError(f"{folder / ADAPTER}: an adapter's model would be fetched; merge the adapter into its model, and give that folder")
    for name, value in _settings(config):
        if name.endswith(("_implementation", "_implementation_internal")):
            _check_implementation(path, name, value)
        if name == "quantization_config" and value is not None:
            raise MertError(f"{path}: {name}={_short(value)}: weights of full precision wanted; give the model that was not quantized")
        if name in OTHER_FILES:
            raise MertError(f"{path}: {name}={_short(value)}: other files are not looked at; remove the setting")
    return config


def _check_implementation(path: Path, name: str, value: Any) -> None:
    if value is not None and value not in ATTENTION:
        raise MertError(f"{path}: {name}={_short(value)}: no code is fetched, allowed are {', '.join(ATTENTION)}; remove the setting")


def _settings(config: Dict[str, Any]) -> Iterator[Tuple[str, Any]]:
    """(name, value) of all settings, of those within settings too."""
    pending = [config]
    while pending:
        part = pending.pop()
        for name, value in part.items() if isinstance(part, dict) else (("", value) for value in part):
            yield name, value
            if isinstance(value, (dict, list)):
                pending.append(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
