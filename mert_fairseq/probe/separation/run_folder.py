"""What a run leaves on disk, and goes on from.

    run.json       what the run is of: settings, encoder's weights, tracks
    training.pt    where training stands
    vocals.pt ...  the best network of each stem
    scores_alone_24000.json    SDR per song and stem, by Wiener mode and rate
    features/      see `stored_features`

JSON has its hash, see `kept_json`; torch's files have checksums of their own.
"""

import fcntl
import hashlib
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import torch

from mert_fairseq.checkpoints import DAMAGED, read_pickled
from mert_fairseq.data.part_files import remove_abandoned, written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.kept_json import read_kept, unlike_before, unreadable, write_kept
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.stem_training import StemTraining
from mert_fairseq.probe.separation.tracks import Track

VERSION = 1
TRAINING = "training.pt"
WORK = ("*.pt", "scores_*.json", "features/*")


class RunFolder:
    """Makes the folder, or goes on in one of the same run.

    Raises:
        MertError: it holds another run or one that cannot be told, another process is at work in it, or it cannot be written.
    """

    def __init__(self, folder: Path, encoder: ProbedEncoder, settings: SeparationSettings, splits: Dict[str, Sequence[Track]]):
        self.path, self._settings = folder, settings
        content = {"version": VERSION, "encoder": encoder.weights_hash, "tracks": _hash(splits), **settings.decisive()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MertError(f"{folder}: cannot be made ({error.strerror}); give another folder") from None
        self._lock = open(folder / "lock", "a")  # held as long as the process lives; the system frees it, however that ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MertError(f"{folder}: another process works on this separation; let it finish, or give another --out") from None
        remove_abandoned(folder, ".*.part")
        has_work = any(path for pattern in WORK for path in folder.glob(pattern))
        unlike = unlike_before(folder / "run.json", content, has_work)
        if unlike:
            changed = ", ".join(f"{name} {before} -> {now}" for name, (before, now) in unlike.items())
            raise MertError(f"{folder}: holds another separation run ({changed}); give another folder")

    def save_training(self, stems: Sequence[StemTraining], epoch: int, batch: int) -> None:
        """Notes where training stands: `batch` batches of `epoch` are done."""
        self._save(TRAINING, {"epoch": epoch, "batch": batch, "stems": {stem.stem: stem.state() for stem in stems}})

    def load_training(self, stems: Sequence[StemTraining]) -> tuple[int, int]:
        """(epoch, batch) to go on with; (0, 0) of a first start."""
        if not (self.path / TRAINING).exists():
            return 0, 0

        def restore(state: Dict[str, Any]) -> tuple[int, int]:
            for stem in stems:
                stem.restore(state["stems"][stem.stem])
            return int(state["epoch"]), int(state["batch"])

        return self._load(TRAINING, "not a training state", "remove it to train anew", restore)

    def save_network(self, stem: StemTraining) -> None:
        """Keeps a stem's network as its best."""
        self._save(f"{stem.stem}.pt", {"network": stem.network.state_dict(), "sdr": stem.best_sdr, "epoch": stem.best_epoch})

    def load_network(self, stem: StemTraining) -> None:
        """Puts the best network in place."""
        mend = f"remove it and {TRAINING} to train anew"
        self._load(f"{stem.stem}.pt", "not a network", mend, lambda state: stem.network.load_state_dict(state["network"]))

    def scores(self) -> Dict[str, Dict[str, Any]]:
        """Of the songs that are done."""
        content = read_kept(self._scores) or {"version": VERSION, "songs": {}}
        if content.get("version") != VERSION:
            raise unreadable(self._scores, f"version {content.get('version')}, {VERSION} wanted")
        return content["songs"]

    def save_scores(self, songs: Dict[str, Dict[str, Any]], mean: Optional[Dict[str, float]]) -> None:
        """Keeps the songs' scores and, when all are done, their mean."""
        write_kept(self._scores, {"version": VERSION, "mean": mean, "songs": songs})

    @property
    def _scores(self) -> Path:
        return self.path / f"scores_{self._settings.wiener}_{self._settings.score_rate}.json"

    def _load(self, name: str, otherwise: str, mend: str, put: Callable[[Dict[str, Any]], Any]) -> Any:
        """What `put` makes of a file of torch's; raises MertError, which ends in `mend`, where it is damaged or of something else."""
        path = self.path / name
        state = read_pickled(str(path), otherwise, mend)
        try:
            return put(state)
        except DAMAGED as error:
            raise unreadable(path, f"{otherwise}: {type(error).__name__}", mend) from error

    def _save(self, name: str, state: Dict[str, Any]) -> None:
        with written_whole(self.path / name) as part:
            torch.save(state, part)


def _hash(splits: Dict[str, Sequence[Track]]) -> str:
    rows: List[str] = [f"{split}\t{track.name}\t{track.num_samples}" for split, tracks in splits.items() for track in tracks]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
