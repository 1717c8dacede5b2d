"""`mert teacher fit kmeans | melrvq`: cluster spectral frames of one's own music."""

import argparse
from pathlib import Path

import torch

from mert_fairseq.cli.codebook_table import print_codebooks
from mert_fairseq.data.manifest_tracks import manifest_tracks
from mert_fairseq.errors import MertError
from mert_fairseq.setting_ranges import SEED
from mert_fairseq.teachers.cluster_fit import CLUSTERS, ClusterFitSettings, fit_kmeans, fit_melrvq
from mert_fairseq.teachers.teacher_folder import check_free


def add_parsers(kinds) -> None:
    """Adds `kmeans` and `melrvq` to the kinds of `mert teacher fit`."""
    kmeans = _add_kind(kinds, "kmeans", "one codebook over log-mel (229 bands), chroma (264 divisions) or MFCC (39) frames")
    sizes = ", ".join(f"{name} {size}" for name, size in CLUSTERS.items())
    kmeans.add_argument("--features", required=True, choices=tuple(CLUSTERS), help="what is clustered")
    kmeans.add_argument("--clusters", type=int, help=f"entries of the codebook (default: {sizes})")
    kmeans.set_defaults(run=run_fit_kmeans)
    melrvq = _add_kind(kinds, "melrvq", "residual k-means over 80 log-mel bands, 8 codebooks of 1,024")
    melrvq.add_argument("--codebooks", type=int, default=8, help="(default 8)")
    melrvq.add_argument("--codebook-size", type=int, default=1024, help="(default 1024)")
    melrvq.set_defaults(run=run_fit_melrvq)


def _add_kind(kinds, name: str, help_text: str) -> argparse.ArgumentParser:
    defaults = ClusterFitSettings()
    parser = kinds.add_parser(name, help=help_text)
    parser.add_argument("manifest_dir", metavar="MANIFEST_DIR", help="folder of train.tsv and valid.tsv; figures are of valid")
    parser.add_argument("out", metavar="OUT", help=f"folder for the teacher, for `mert labels {name} --weights OUT`")
    parser.add_argument("--frames", type=int, default=defaults.num_frames, help=f"of the sample (default {defaults.num_frames:,})")
    parser.add_argument("--seed", type=int, default=defaults.seed, help=f"(default {defaults.seed})")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    return parser


def run_fit_kmeans(args: argparse.Namespace) -> int:
    """Fits, saves, and prints the held-out figures."""
    clusters = CLUSTERS[args.features] if args.clusters is None else args.clusters
    if not 2 <= clusters <= 65_536:
        raise MertError(f"--clusters {clusters}: need 2 to 65,536")
    return _fit(args, lambda train, valid, settings: fit_kmeans(train, valid, args.features, clusters, settings))


def run_fit_melrvq(args: argparse.Namespace) -> int:
    """Fits, saves, and prints the held-out figures."""
    if args.codebooks < 1 or not 2 <= args.codebook_size <= 65_536:
        raise MertError(f"--codebooks {args.codebooks} --codebook-size {args.codebook_size}: need at least 1, and 2 to 65,536")
    return _fit(args, lambda train, valid, settings: fit_melrvq(train, valid, args.codebooks, args.codebook_size, settings))


def _fit(args: argparse.Namespace, fit) -> int:
    if args.frames < 1 or (args.threads is not None and args.threads < 1):
        raise MertError(f"--frames {args.frames} --threads {args.threads}: need frames >= 1 and threads >= 1")
    if not SEED.holds(args.seed):
        raise MertError(f"--seed {args.seed}: need {SEED}")
    if args.threads:
        torch.set_num_threads(args.threads)
    check_free(args.out)  # before the work that follows
    train, valid = (manifest_tracks(Path(args.manifest_dir) / f"{split}.tsv") for split in ("train", "valid"))
    teacher = fit(train, valid, ClusterFitSettings(num_frames=args.frames, seed=args.seed))
    teacher.save(args.out)
    report = teacher.report
    print(f"{args.out}: {teacher.name}, {report['num_frames']:,} frames in {report['seconds']:.0f} s")
    print_codebooks(report["perplexity"], report["top_share"], report["repeat_rate"], report["residual_energy"])
    return 0
