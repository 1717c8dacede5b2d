"""`mert export`: a training checkpoint as a folder for Hugging Face's transformers."""

import argparse
import glob
from pathlib import Path
from typing import Optional

from mert_fairseq.data.part_files import remove_abandoned, restore_replaced, written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.export.compare import TOLERANCE, largest_difference
from mert_fairseq.export.hf_folder import write_folder
from mert_fairseq.export.model_card import model_card
from mert_fairseq.export.onnx_graph import largest_onnx_difference, write_onnx
from mert_fairseq.export.training_model import TrainingModel, open_training_model


def add_parser(subparsers) -> None:
    """Adds `export CHECKPOINT OUT`."""
    parser = subparsers.add_parser(
        "export",
        help="a checkpoint as a Hugging Face folder",
        description="Writes OUT, which AutoModel.from_pretrained(OUT) loads without code of ours, after every hidden state was compared "
        "with the checkpoint's.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="e.g. RUN_DIR/checkpoints/checkpoint_last.pt")
    parser.add_argument("out", metavar="OUT", help="folder to make")
    parser.add_argument("--onnx", action="store_true", help="add model.onnx, of any batch and length, compared in the same way")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes under a temporary name, compares, and only then gives the folder its own."""
    out = Path(args.out).resolve()
    restore_replaced(out)
    _check_free(out, args.out)
    if out == Path.cwd():
        raise MertError(f"{args.out}: the folder that you are in; give one to make")
    opened = open_training_model(args.checkpoint)
    remove_abandoned(out.parent, f".{glob.escape(out.name)}.*.part")
    try:
        with written_whole(out) as part:
            difference = _write(part, opened, _run_dir(Path(args.checkpoint)), args.onnx)
            _check_free(out, args.out)  # another export may have been sooner
    except OSError as error:
        raise MertError(f"{args.out}: cannot be written ({error.strerror or error})") from None
    print(f"{args.out}: hidden states differ from the checkpoint's by at most {difference:.1g}; "
          f"AutoModel.from_pretrained('{args.out}') loads it")
    return 0


def _check_free(out: Path, given: str) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MertError(f"{given}: exists and is not empty; give another folder, or remove it")


def _write(folder: Path, opened: TrainingModel, run_dir: Optional[Path], onnx: bool) -> float:
    """The whole folder; the largest difference of a hidden state."""
    folder.mkdir(parents=True)
    write_folder(folder, opened)
    difference = _checked("transformers'", largest_difference(opened.model, folder))
    if onnx:
        write_onnx(folder)
        difference = max(difference, _checked("the ONNX graph's", largest_onnx_difference(opened.model, folder)))
    (folder / "README.md").write_text(model_card(opened.cfg, opened.state, run_dir), encoding="utf-8")
    return difference


def _checked(whose: str, difference: float) -> float:
    if not difference <= TOLERANCE:  # nor if it is no number
        raise MertError(f"{whose} hidden states differ from the checkpoint's by {difference:.2g}, over {TOLERANCE}; nothing was written")
    return difference


def _run_dir(checkpoint: Path) -> Optional[Path]:
    """RUN_DIR of RUN_DIR/checkpoints/checkpoint_last.pt."""
    return checkpoint.absolute().parent.parent if checkpoint.absolute().parent.name == "checkpoints" else None
