"""The model card of an exported folder: what the run was, in figures of its checkpoint and its log."""

from pathlib import Path
from typing import Any, Dict, List, Optional

import torch

from mert_fairseq.checkpoints import codebook_sizes
from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.errors import MertError
from mert_fairseq.report.run_log import read_run_config, read_run_log

FRONT = "---\nlibrary_name: transformers\ntags: [music, audio, mert]\n---"
USE = """```python
import torch
from transformers import AutoFeatureExtractor, AutoModel

model = AutoModel.from_pretrained("FOLDER").eval()
prepare = AutoFeatureExtractor.from_pretrained("FOLDER")       # 24 kHz, mono, not normalised
inputs = prepare(wave, sampling_rate=24_000, return_tensors="pt")
with torch.no_grad():
    found = model(**inputs, output_hidden_states=True)
layers = [*found.hidden_states[:-1], found.last_hidden_state]  # each [1, T, D], 75 frames per second
```

Clips of one length in a batch: the first convolution's norm goes over a whole clip, and padding would count."""
#: Settings of a run that a reader of its figures wants to know.
SETTINGS = (
    "task.labels",
    "task.max_sample_size",
    "dataset.max_tokens",
    "optimization.lr",
    "optimization.max_update",
    "optimization.update_freq",
    "distributed_training.distributed_world_size",
    "model.mask_prob",
    "model.mixture_prob",
    "common.fp16",
    "common.seed",
)


def model_card(cfg: Dict[str, Any], state: Dict[str, Any], run_dir: Optional[Path]) -> str:
    """Markdown; what is not known is left out.

    Args:
        cfg: configuration of the run.
        state: content of the checkpoint.
        run_dir: with the run's log, for its losses; None if it is not known.
    """
    model, history = cfg.get("model") or {}, state.get("optimizer_history") or [{}]
    updates = history[-1].get("num_updates")
    sizes = codebook_sizes(state)
    seconds = (state.get("task_state") or {}).get("device_seconds")
    facts = {
        "layers x width": f"{model.get('encoder_layers')} x {model.get('encoder_embed_dim')}",
        "layer norm": "pre" if model.get("layer_norm_first") else "post",
        "codebooks predicted": f"{len(sizes)} of {', '.join(map(str, sorted(set(sizes))))} entries",
        "training audio, hours": _hours(run_dir),
        "updates": updates,
        "device-hours": None if not seconds else round(seconds / 3600, 3),
        **{key: _select(cfg, key) for key in SETTINGS},
        **_logged(run_dir, updates),
        "torch": torch.__version__,
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items() if value is not None)
    return f"{FRONT}\n\n# MERT\n\nPre-trained with mert_fairseq.\n\n| | |\n|---|---|\n{rows}\n\n{USE}\n"


def _select(cfg: Dict[str, Any], key: str) -> Any:
    part, name = key.split(".")
    return (cfg.get(part) or {}).get(name)


def _hours(run_dir: Optional[Path]) -> Optional[float]:
    """Of the training manifest, if it is still where the run read it."""
    try:
        return None if run_dir is None else round(read_manifest(Path(read_run_config(run_dir).task.data) / "train.tsv").hours, 2)
    except MertError:
        return None


def _logged(run_dir: Optional[Path], updates: Optional[int]) -> Dict[str, float]:
    """Held-out losses and accuracies of the last validation up to the checkpoint."""
    try:
        valid = {} if run_dir is None else read_run_log(run_dir).valid
    except MertError:  # no log, or no validation in it
        return {}
    reached: List[int] = [number for number in valid if updates is None or number <= updates]
    if not reached:
        return {}
    wanted = {key: value for key, value in valid[max(reached)].items() if key.startswith(("loss", "correct_"))}
    return {f"held-out {name} (update {max(reached)})": value for name, value in sorted(wanted.items())}
