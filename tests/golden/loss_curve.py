"""The recorded loss curve of mert_tiny: 200 updates of the shipped configuration on made-up music, in float32, one thread.

`python tests/golden/loss_curve.py` prints how far the present numbers are from the recorded ones, `--renew` records them anew: to be
done, and said why, where a change of the numbers is meant (of the configuration, of what is drawn from the seed, of the loss).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "integration"))

import training_runs as runs  # noqa: E402

from mert_fairseq.report.run_log import read_run_log  # noqa: E402

PATH = HERE / "loss_curve.json"
UPDATES, EVERY = 200, 10  # a point is the mean over EVERY updates
SETTINGS = (
    f"optimization.max_update={UPDATES}",
    "+lr_scheduler.total_num_update=2200",  # as the whole run has it
    f"common.log_interval={EVERY}",
    "model.autocast=none",  # bfloat16 is not everywhere
    "dataset.disable_validation=true",
    "checkpoint.no_save=true",
)
TERMS = ("loss", "loss_codes_m", "loss_m_0", "loss_m_1", "loss_m_2", "loss_cqt_m", "loss_features_pen", "gnorm", "masked_share")
Curve = Dict[str, List[float]]


def train(folder: Path, *overrides: str, **environment: str) -> Curve:
    """Trains in `folder`; every term at every EVERY-th update."""
    corpus = runs.build_corpus(folder / "corpus")
    command = runs.shipped_command(corpus, folder / "run", *SETTINGS, *overrides)
    done = subprocess.run(command, capture_output=True, text=True, env=runs.environment(**environment))
    assert done.returncode == 0, done.stderr[-3000:]
    records = read_run_log(folder / "run").train
    assert sorted(records) == list(range(EVERY, UPDATES + 1, EVERY)), sorted(records)
    return {term: [records[update][term] for update in sorted(records)] for term in TERMS}


def read() -> Curve:
    return json.loads(PATH.read_text(encoding="utf-8"))


def write(curve: Curve) -> None:
    lines = ",\n".join(f'  "{term}": {json.dumps(values)}' for term, values in curve.items())
    PATH.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def drift(curve: Curve, recorded: Curve) -> Dict[str, float]:
    """Of each term, the largest difference of a point, as a share of the term's largest recorded value."""
    return {
        term: max(abs(one - other) for one, other in zip(curve[term], values, strict=True)) / max(map(abs, values))
        for term, values in recorded.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renew", action="store_true", help=f"write {PATH.name}")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        curve = train(Path(folder))
    if PATH.is_file():
        for term, share in drift(curve, read()).items():
            print(f"{term:<20} {share:.1e}")
    if args.renew:
        write(curve)
        print(f"{PATH} written")


if __name__ == "__main__":
    main()
