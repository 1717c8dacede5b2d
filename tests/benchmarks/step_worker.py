"""A process that holds one side of a comparison and runs it when told: a line in, a line of JSON out.

    python step_worker.py SIDE WHAT [BATCH]     SIDE: ours, ours_bf16, reference; WHAT: mert_base, mert_large, code_loss, loss_memory
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import yaml
from harness import peak_mb
from reference_method import ReferenceMERT, expanded_loss

from mert_fairseq.allocator import keep_freed_memory
from mert_fairseq.criterions import MERTCriterion
from mert_fairseq.frames import num_conv_frames
from mert_fairseq.models.mert import MERTConfig, MERTModel
from mert_fairseq.models.mert.code_prediction import predict_codes
from mert_fairseq.models.mert.config import conv_layers_of
from mert_fairseq.tasks.throughput import matmul_rate

CONFIGS = Path(__file__).parents[2] / "mert_fairseq" / "config"
NUM_CODEBOOKS, NUM_CODES, TASK = 8, 1024, SimpleNamespace(sample_rate=24_000)


def settings(name: str, **changes) -> MERTConfig:
    """A shipped configuration; no layer is dropped, so that all steps are equal."""
    values = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["model"]
    values.pop("_name")
    return MERTConfig(**{**values, "label_rate": 75.0, "seed": 1, "encoder_layerdrop": 0.0, **changes})


def batch(name: str, num_clips: int):
    """Wave, targets and a mask of 58 % of the frames."""
    generator = torch.Generator().manual_seed(0)
    num_samples = 122_880 if name == "mert_large" else 120_000
    frames = num_conv_frames(num_samples)
    wave = torch.randn(num_clips, num_samples, generator=generator) * 0.1
    targets = [torch.randint(4, NUM_CODES + 4, (num_clips, frames), generator=generator) for _ in range(NUM_CODEBOOKS)]
    return wave, targets, torch.rand(num_clips, frames, generator=generator) < 0.58


def our_step(name: str, num_clips: int, autocast: str):
    """Forward and backward of the package's model and criterion, with its mixup and CQT."""
    torch.manual_seed(0)
    keep_freed_memory()
    model = MERTModel(settings(name, autocast=autocast), TASK, [NUM_CODES] * NUM_CODEBOOKS).train()
    criterion = MERTCriterion(None, 1.0, 0.0)
    wave, targets, mask = batch(name, num_clips)
    sample = {"id": torch.arange(num_clips), "target_list": targets}
    sample["net_input"] = {"source": wave, "ids": range(num_clips), "mask_indices": mask}

    def step() -> dict:
        loss, size, logged = criterion(model, sample)
        loss.backward()
        model.zero_grad()
        return {"loss": float(loss) / size, "flops": logged["flops"]}

    return step


def reference_step(name: str, num_clips: int):
    """Forward and backward by the published method."""
    torch.manual_seed(0)
    cfg = settings(name)
    cfg.conv_feature_layers = str(conv_layers_of(cfg.conv_feature_layers))
    model = ReferenceMERT(cfg, TASK, [NUM_CODES] * NUM_CODEBOOKS).train()
    wave, targets, mask = batch(name, num_clips)

    def step() -> dict:
        loss = model.training_loss(wave, targets, mask)
        loss.backward()
        model.zero_grad()
        return {"loss": float(loss) / int(mask.sum())}

    return step


def code_loss(ours: bool, num_frames: int):
    """The loss of the codes alone, 95M: 8 codebooks of 1,028 classes, 64 wide, forward and backward."""
    generator = torch.Generator().manual_seed(0)
    classes = NUM_CODES + 4
    projected = torch.randn(num_frames, NUM_CODEBOOKS, 64, generator=generator).requires_grad_()
    table = torch.rand(NUM_CODEBOOKS * classes, 64, generator=generator).requires_grad_()
    targets = torch.randint(4, classes, (num_frames, NUM_CODEBOOKS), generator=generator)
    model = SimpleNamespace(logit_temp=0.1)

    def step() -> dict:
        if ours:
            loss = predict_codes(projected, targets, table, [classes] * NUM_CODEBOOKS, 0.1).losses.sum()
        else:
            tables = table.split(classes)
            loss = torch.stack([expanded_loss(model, projected[:, k], targets[:, k], tables[k]) for k in range(NUM_CODEBOOKS)]).sum()
        loss.backward()
        projected.grad = table.grad = None
        return {"loss": float(loss) / num_frames}

    return step


def make_step(side: str, what: str, size: int):
    if what == "code_loss":
        return code_loss(side == "ours", size)
    return reference_step(what, size) if side == "reference" else our_step(what, size, "bf16" if side == "ours_bf16" else "none")


if __name__ == "__main__":
    step = make_step(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    held_mb = peak_mb()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "matmul":
            print(json.dumps({"rate": matmul_rate(torch.device("cpu"), torch.float32)}), flush=True)
            continue
        start = time.perf_counter()
        found = step()
        print(json.dumps({"seconds": time.perf_counter() - start, "peak_mb": peak_mb(), "held_mb": held_mb, **found}), flush=True)
