"""`mert manifest`: list the audio of a folder for training."""

import argparse
import errno

from mert_fairseq.data.scan import scan
from mert_fairseq.errors import MertError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command `manifest`; its parsed arguments carry `run`."""
    parser = subparsers.add_parser(
        "manifest",
        help="list the audio files of a folder as train and valid manifests",
        description="Find the WAV, FLAC, OGG and MP3 files of a folder and all below it, check each, and write "
        "OUT_DIR/train.tsv and OUT_DIR/valid.tsv. Files that cannot be used are left out and listed in OUT_DIR/report.tsv.",
    )
    parser.add_argument("audio_dir", metavar="AUDIO_DIR", help="folder with the audio files")
    parser.add_argument("out_dir", metavar="OUT_DIR", help="folder for the manifests and the report; made if missing")
    parser.add_argument(
        "--valid-percent",
        type=float,
        default=5.0,
        metavar="P",
        help="share of the files held out for validation, in percent; a file's name decides, so that adding files moves none "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--min-seconds",
        type=float,
        default=3.0,
        metavar="S",
        help="leave out files shorter than this, in seconds (default: %(default)g)",
    )
    parser.add_argument(
        "--convert",
        metavar="DIR",
        help="copy every file to DIR as 24 kHz mono FLAC and list the copies: training reads them several times faster; "
        "copies that are whole are kept on a rerun, damaged ones made again (default: files are used as they are and resampled on read)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read files (default: one per processor)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="read headers and the first sound only; damage further on, and of copies that are there, is not found "
        "(default: decode every file once)",
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Scan and print a summary; returns 0. Raises MertError for anything that keeps the manifests from being written."""
    try:
        report = scan(
            args.audio_dir,
            args.out_dir,
            valid_percent=args.valid_percent,
            min_seconds=args.min_seconds,
            convert=args.convert,
            workers=args.workers,
            quick=args.quick,
        )
    except OSError as error:
        mend = "make room, and the same command goes on" if error.errno in FULL else "OUT_DIR must be a folder to write in"
        raise MertError(f"{error.filename or args.out_dir}: {error.strerror}; {mend}") from error
    rejected = sum(report.rejected.values())
    print(f"{report.num_files} files found in {args.audio_dir}, {rejected} rejected")
    for split, rows in report.rows.items():
        print(f"  {split:5} {rows:8} files {report.hours[split]:10.2f} h   {args.out_dir}/{split}.tsv")
    for reason, count in report.rejected.items():
        print(f"  rejected: {reason} {count}")
    if report.clipped:
        print(f"  copies clipped at full scale, kept: {report.clipped}")
    if report.remade:
        print(f"  damaged copies, made again: {report.remade}")
    if rejected or report.clipped or report.remade:
        print(f"  {report.report_path} has a line on each")
    return 0
