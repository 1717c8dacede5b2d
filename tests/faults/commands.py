"""The commands that are disturbed, on made-up data, each a second or two long; and what they leave, byte for byte."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List

import numpy as np
import soundfile
import torch

for kind in ("export", "probe"):
    sys.path.insert(0, str(Path(__file__).parent.parent / kind))

import miniatures  # noqa: E402
from made_checkpoints import write_checkpoint  # noqa: E402

from mert_fairseq.data.manifest import write_manifest  # noqa: E402
from mert_fairseq.json_hash import KEY  # noqa: E402
from mert_fairseq.teachers.rvqvae import RVQVAE, RVQVAESettings  # noqa: E402

NAMES = ("mert manifest", "mert labels encodec", "mert labels cqt", "mert export", "mert features", "mert probe", "mert probe of beats")
LOCKS = (".lock", "lock")  # how their names end; the files stay, what counts is the lock on them


@dataclass(frozen=True)
class Command:
    """Attributes: name in the table; the command line for an output folder."""

    name: str
    argv: Callable[[Path], List[object]]


def make(name: str, data: Path) -> Command:
    """A command on the inputs below `data`."""
    manifests, music, checkpoint = data / "manifests", data / "music", data / "trained" / "checkpoint_last.pt"
    scan = ["--valid-percent", 40, "--min-seconds", 0.5, "--workers", 2]
    shards = ["--nshard", 4, "--threads", 1]
    argvs: Dict[str, Callable[[Path], List[object]]] = {
        "mert manifest": lambda out: ["manifest", music, out / "manifest", "--convert", out / "audio", *scan],
        "mert labels encodec": lambda out: ["labels", "encodec", manifests, out, "--weights", data / "teacher", *shards],
        "mert labels cqt": lambda out: ["labels", "cqt", manifests, out, "--dtype", "uint8", *shards],
        "mert export": lambda out: ["export", checkpoint, out / "hugging_face"],
        "mert features": lambda out: ["features", checkpoint, music, "--out", out / "features", "--pool", "frames", "--device", "cpu"],
        "mert probe": lambda out: [*_probe("GTZAN", data, out), "--rates", 0.001, 0.002, 0.003, "--seeds", 1, 2],
        "mert probe of beats": lambda out: [*_probe("GTZANBT", data, out), "--rates", 0.003, "--seeds", 1],
    }
    return Command(name, lambda out: ["mert", *argvs[name](out)])


def _probe(task: str, data: Path, out: Path) -> List[object]:
    places = ["--data", data / task, "--out", out / "scores", "--cache", out / "cache"]
    return ["probe", task, "--model", "logmel", "--layers", "0", "--any-counts", "--device", "cpu", *places]


def write_inputs(data: Path) -> Path:
    """Music, manifests, teacher, checkpoint, and two datasets in their layouts."""
    (data / "music" / "album").mkdir(parents=True)
    rows = []
    for number in range(16):
        rate, seconds = (24_000, 44_100)[number % 2], 1 + 0.11 * number
        time_s, noise = np.arange(int(seconds * rate)) / rate, np.random.default_rng(number)
        wave = 0.2 * np.sin(2 * np.pi * 110 * 2 ** (number / 5) * time_s) + 0.02 * noise.standard_normal(len(time_s))
        name = f"{'album/' * (number % 3 == 0)}{number:02}.{('wav', 'flac')[number % 2]}"
        soundfile.write(data / "music" / name, wave, rate)
        rows += [(name, len(wave))] * (rate == 24_000)
    write_manifest(data / "manifests" / "train.tsv", data / "music", rows)
    write_manifest(data / "manifests" / "valid.tsv", data / "music", rows[-4:])
    torch.manual_seed(0)
    RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=2, codebook_size=8)).save(data / "teacher")
    write_checkpoint(data / "trained" / "checkpoint_last.pt")
    for task in ("GTZAN", "GTZANBT"):
        miniatures.build(task, data)
    return data


def outputs(out: Path) -> Dict[str, bytes]:
    """Every file by its path below `out`, whose own name is taken out of them; without locks and timings."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and not path.name.endswith(LOCKS)]
    return {str(path.relative_to(out)): _comparable(path).replace(str(out).encode(), b"OUT") for path in files}


def _comparable(path: Path) -> bytes:
    data = path.read_bytes()
    if path.name == "sources.jsonl":  # in the order in which features were made
        return b"\n".join(sorted(data.splitlines()))
    if path.suffix != ".json" or b'"seconds"' not in data:
        return data
    return json.dumps(_without_seconds(json.loads(data)), sort_keys=True).encode()


def _without_seconds(value):
    if isinstance(value, dict):
        return {key: _without_seconds(found) for key, found in value.items() if key not in ("seconds", "made", KEY)}
    return [_without_seconds(found) for found in value] if isinstance(value, list) else value
