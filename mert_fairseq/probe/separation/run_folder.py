"""What a run leaves on disk, and goes on from.

    run.json       what the run is of: settings, encoder's weights, tracks
    training.pt    where training stands
    vocals.pt ...  the best network of each stem
    scores_alone_24000.json    SDR per song and stem, by Wiener mode and rate
"""

import fcntl
import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch

from mert_fairseq.checkpoints import read_pickled
from mert_fairseq.data.part_files import remove_abandoned, written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.stem_training import StemTraining
from mert_fairseq.probe.separation.tracks import Track

VERSION = 1
MEND = "remove it to train anew"


class RunFolder:
    """Makes the folder, or goes on in one of the same run.

    Raises:
        MertError: it holds another run, another process is at work in it, or it cannot be written.
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
        found = self._read("run.json")
        if found is None:
            self._write("run.json", content)
        elif found != content:
            changed = ", ".join(f"{key} {found.get(key)} -> {now}" for key, now in content.items() if found.get(key) != now)
            raise MertError(f"{folder}: holds another separation run ({changed or 'of another version'}); give another folder")

    def save_training(self, stems: Sequence[StemTraining], epoch: int, batch: int) -> None:
        """Notes where training stands: `batch` batches of `epoch` are done."""
        self._save("training.pt", {"epoch": epoch, "batch": batch, "stems": {stem.stem: stem.state() for stem in stems}})

    def load_training(self, stems: Sequence[StemTraining]) -> tuple[int, int]:
        """(epoch, batch) to go on with; (0, 0) of a first start."""
        path = self.path / "training.pt"
        if not path.exists():
            return 0, 0
        state = read_pickled(str(path), "not a training state", MEND)
        for stem in stems:
            stem.restore(state["stems"][stem.stem])
        return state["epoch"], state["batch"]

    def save_network(self, stem: StemTraining) -> None:
        """Keeps a stem's network as its best."""
        self._save(f"{stem.stem}.pt", {"network": stem.network.state_dict(), "sdr": stem.best_sdr, "epoch": stem.best_epoch})

    def load_network(self, stem: StemTraining) -> None:
        """Puts the best network in place."""
        stem.network.load_state_dict(read_pickled(str(self.path / f"{stem.stem}.pt"), "not a network", MEND)["network"])

    def scores(self) -> Dict[str, Dict[str, Any]]:
        """Of the songs that are done."""
        return (self._read(self._scores) or {"songs": {}})["songs"]

    def save_scores(self, songs: Dict[str, Dict[str, Any]], mean: Optional[Dict[str, float]]) -> None:
        """Keeps the songs' scores and, when all are done, their mean."""
        self._write(self._scores, {"version": VERSION, "mean": mean, "songs": songs})

    @property
    def _scores(self) -> str:
        return f"scores_{self._settings.wiener}_{self._settings.score_rate}.json"

    def _read(self, name: str) -> Optional[Dict[str, Any]]:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise MertError(f"{self.path / name}: cannot be read ({error}); {MEND}") from None

    def _write(self, name: str, content: Dict[str, Any]) -> None:
        with written_whole(self.path / name) as part:
            part.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def _save(self, name: str, state: Dict[str, Any]) -> None:
        with written_whole(self.path / name) as part:
            torch.save(state, part)


def _hash(splits: Dict[str, Sequence[Track]]) -> str:
    rows: List[str] = [f"{split}\t{track.name}\t{track.num_samples}" for split, tracks in splits.items() for track in tracks]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
