"""`mert teacher fit`: make a teacher from one's own music, without any download."""

import argparse
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from mert_fairseq.cli import teacher_clusters
from mert_fairseq.cli.codebook_table import print_codebooks
from mert_fairseq.data.manifest_tracks import manifest_tracks
from mert_fairseq.errors import MertError
from mert_fairseq.setting_ranges import SEED
from mert_fairseq.teachers.fit_report import FitReport
from mert_fairseq.teachers.rvqvae_fit import FitSettings, fit_rvqvae
from mert_fairseq.teachers.teacher_folder import check_free


def add_parser(subparsers) -> None:
    """Adds `teacher fit rvqvae | kmeans | melrvq`."""
    parser = subparsers.add_parser("teacher", help="fit a teacher on one's own music")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    fit = actions.add_parser("fit", help="fit a teacher")
    kinds = fit.add_subparsers(dest="kind", required=True, metavar="KIND")
    defaults = FitSettings()
    rvqvae = kinds.add_parser("rvqvae", help="RVQ-VAE of EnCodec's architecture, minutes on a CPU")
    rvqvae.add_argument("manifest_dir", metavar="MANIFEST_DIR", help="folder of train.tsv and valid.tsv; figures are of valid")
    rvqvae.add_argument("out", metavar="OUT", help="folder for the teacher, for `mert labels encodec --weights OUT`")
    rvqvae.add_argument("--updates", type=int, default=defaults.updates, help=f"of the autoencoder (default {defaults.updates})")
    rvqvae.add_argument("--max-seconds", type=float, help="stop earlier at this time, shared among the phases (default: no limit)")
    rvqvae.add_argument(
        "--finetune-updates", type=int, default=0, help="through the quantiser, kept only if no codebook loses usage (default 0)"
    )
    rvqvae.add_argument("--seed", type=int, default=defaults.seed, help=f"(default {defaults.seed})")
    rvqvae.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    rvqvae.set_defaults(run=run_fit_rvqvae)
    teacher_clusters.add_parsers(kinds)


def run_fit_rvqvae(args: argparse.Namespace) -> int:
    """Fits, saves, and prints the held-out figures."""
    if args.updates < 1 or (args.threads is not None and args.threads < 1):
        raise MertError(f"--updates {args.updates} --threads {args.threads}: need updates >= 1 and threads >= 1")
    if args.max_seconds is not None and not args.max_seconds >= 10:
        raise MertError(f"--max-seconds {args.max_seconds}: need at least 10")
    if args.finetune_updates < 0 or not SEED.holds(args.seed):
        raise MertError(f"--finetune-updates {args.finetune_updates} --seed {args.seed}: need finetune-updates >= 0 and a seed of {SEED}")
    if args.threads:
        torch.set_num_threads(args.threads)
    check_free(args.out)  # before the minutes that follow
    train, valid = (manifest_tracks(Path(args.manifest_dir) / f"{split}.tsv") for split in ("train", "valid"))
    settings = FitSettings(
        updates=args.updates, finetune_updates=args.finetune_updates, max_seconds=args.max_seconds, seed=args.seed
    )
    bars = {}

    def progress(phase: str, done: int, total: int) -> None:
        if phase not in bars:
            bars[phase] = tqdm(total=total, desc=phase, disable=not sys.stderr.isatty())
        bars[phase].update(done - bars[phase].n)

    model, report = fit_rvqvae(train, valid, settings, progress)
    for bar in bars.values():
        bar.close()
    model.save(args.out, report.to_dict())
    print(f"{args.out}: {report.updates} updates in {report.seconds:.0f} s")
    _print_report(report)
    return 0


def _print_report(report: FitReport) -> None:
    print(f"held-out log-mel L1 {report.log_mel_l1:.3f} (constant spectrum {report.constant_log_mel_l1:.3f})")
    print_codebooks(report.perplexity, report.top_share, report.repeat_rate, report.residual_energy)
