"""Options of `mert probe` that are judged before a data set is read, which may take long."""

import argparse
import math
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.errors import MertError
from mert_fairseq.probe.probing import GridSettings


def grid_of(args: argparse.Namespace, num_layers: int, kinds: Sequence[str]) -> GridSettings:
    """What --layers, --rates and --seeds ask for.

    Args:
        num_layers: of the encoder.
        kinds: of the tasks; separation alone may sum the layers of an encoder that has one.

    Raises:
        MertError: one of them that cannot be.
    """
    layers = _layers(args.layers)
    _check_layers(layers or (), num_layers, summed=num_layers > 0 or set(kinds) == {"stems"})
    wrong = [rate for rate in args.rates if not 0 < rate < 1 or not math.isfinite(rate)]
    if wrong:
        raise MertError(f"--rates {wrong[0]:g}: more than 0 and less than 1 allowed, e.g. --rates 0.001")
    twice = [seed for seed in args.seeds if list(args.seeds).count(seed) > 1 or seed < 0]
    if twice:
        raise MertError(f"--seeds {' '.join(map(str, args.seeds))}: different numbers from 0 on allowed, e.g. --seeds 1 2 3")
    return GridSettings(layers, tuple(args.rates), tuple(args.seeds))


def check_manifest(path: Optional[Path]) -> None:
    """Raises MertError if --pretrained-on names no manifest that can be read."""
    if path is None:
        return
    try:
        read_manifest(path)
    except MertError as error:
        raise MertError(f"--pretrained-on {path}: the train.tsv of the model's training wanted ({error})") from None


def _layers(names: Optional[List[str]]) -> Optional[Tuple[Optional[int], ...]]:
    if names is None:
        return None
    wrong = [name for name in names if name != "all" and not name.isdecimal()]
    if wrong:
        raise MertError(f"--layers {wrong[0]}: a number, or all")
    return tuple(None if name == "all" else int(name) for name in names)


def _check_layers(layers: Sequence[Optional[int]], num_layers: int, summed: bool) -> None:
    allowed = f"0 to {num_layers}, or all" if num_layers else "0"
    wrong = [layer for layer in layers if layer is not None and layer > num_layers or layer is None and not summed]
    if wrong:
        name = "all" if wrong[0] is None else wrong[0]
        raise MertError(f"--layers {name}: {allowed} allowed, of this model's hidden states")
