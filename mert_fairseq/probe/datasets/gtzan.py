"""GTZAN: 1,000 clips of 30 s in ten genres, of which 929 are used, in the fault-filtered split; and their beats.

    genres/blues/blues.00000.wav                                         or .au, as first published
    train_filtered.txt valid_filtered.txt test_filtered.txt              blues/blues.00029.wav   (torchaudio has them too)
    GTZAN-Rhythm_v2_ismir2015_lbd/jams/blues.00000.wav.jams              beats and downbeats
    gtzan_tempo_beat-main/beats/gtzan_blues_00000.beats                  or these: 0.49<TAB>1, seconds and place in the bar
"""

from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np

from mert_fairseq.data.audio import AudioError, audio_info
from mert_fairseq.errors import MertError
from mert_fairseq.probe.datasets.annotation_files import class_of, folder_of, json_of, lines_of
from mert_fairseq.probe.items import SPLITS, BeatTimes, Item, Label, TaskData
from mert_fairseq.probe.task import Dataset

AUDIO = ["genres", "genres_original", "Data/genres_original", "."]
DATASET = Dataset(
    name="GTZAN",
    licence="none stated, research",
    size="1.3 GB, 1,000 clips of 30 s (22 kHz, mono)",
    where="huggingface.co/datasets/marsyas/gtzan or kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification",
    layout=(
        "genres/<genre>/<genre>.<5 digits>.wav    (or genres_original/, Data/genres_original/; .au)\n"
        "train_filtered.txt valid_filtered.txt test_filtered.txt    (may be left out: torchaudio has the lists;\n"
        "                                          else github.com/coreyker/dnn-mgr, folder gtzan)"
    ),
)
RHYTHM = Dataset(
    name="GTZAN",
    licence="as GTZAN; annotations for research",
    size="1.3 GB and 10 MB of annotations",
    where=(
        f"{DATASET.where}; beats: GTZAN-Rhythm_v2_ismir2015_lbd_2015-10-28.tar_.gz (anasynth.ircam.fr, Marchand 2015)"
        " or github.com/TempoBeatDownbeat/gtzan_tempo_beat"
    ),
    layout=(
        f"{DATASET.layout}\nGTZAN-Rhythm_v2_ismir2015_lbd/jams/<genre>.<5 digits>.wav.jams\n"
        "    (or gtzan_tempo_beat*/beats/gtzan_<genre>_<5 digits>.beats)"
    ),
)
GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
CLASSES = {genre: number for number, genre in enumerate(GENRES)}
#: Cut off in the copy that is left on the net; MARBLE leaves it out (exp_scripts/download/download_gtzan.sh).
BROKEN = "jazz.00054"


def read_genre(data: Path) -> TaskData:
    """Clips with their genre, split without faults and by artist (Kereliuk, Sturm and Larsen 2015)."""
    return _read(data, GENRES, lambda name, path: CLASSES[name.split(".")[0]], f"get it from {DATASET.where}", [])


def read_rhythm(data: Path) -> TaskData:
    """The same clips with their beats; beats behind a clip's end, which a few have, are left out."""
    mend = f"get them from {RHYTHM.where}"
    folders = ["GTZAN-Rhythm_v2*/jams", "GTZAN-Rhythm_v2*", "jams", "gtzan_tempo_beat*/beats", "beats"]
    folder = folder_of(data, folders, "*[0-9].*", mend)
    is_jams = next(folder.glob("*.jams"), None) is not None
    annotations: List[Path] = []

    def beats_of(name: str, path: Path) -> BeatTimes:
        file = folder / (f"{name}.wav.jams" if is_jams else f"gtzan_{name.replace('.', '_')}.beats")
        annotations.append(file)
        return _within(read_jams(file, mend) if is_jams else read_beats(file, mend), path)

    return _read(data, ("beat",), beats_of, mend, annotations)


def _read(data: Path, classes: Tuple[str, ...], label_of: Callable[[str, Path], Label], mend: str, annotations: List[Path]) -> TaskData:
    audio = folder_of(data, AUDIO, "[a-z]*/*.[0-9]*", f"get it from {DATASET.where}")
    items, dropped = [], []
    for split, names in _lists(data, annotations).items():
        for name in names:
            if name == BROKEN:
                dropped.append(f"{name}: cut off in the copy on the net, left out by MARBLE too")
                continue
            path = audio / name.split(".")[0] / f"{name}.wav"
            path = path if path.exists() or not path.with_suffix(".au").exists() else path.with_suffix(".au")
            items.append(Item(name, path, split, label_of(name, path)))
    return TaskData(items, classes, dropped, annotations)


def _lists(data: Path, annotations: List[Path]) -> Dict[str, List[str]]:
    """Split -> names like blues.00029, from the data folder or else from torchaudio."""
    files = {split: data / f"{split}_filtered.txt" for split in SPLITS}
    if not any(path.exists() for path in files.values()):
        from torchaudio.datasets import gtzan

        return {split: list(getattr(gtzan, f"filtered_{split}")) for split in SPLITS}
    mend = "get all three from github.com/coreyker/dnn-mgr, folder gtzan, or remove them: torchaudio has the lists"
    found = {}
    for split, path in files.items():
        names = [line.rsplit("/", 1)[-1].removesuffix(".wav").removesuffix(".au") for line in lines_of(path, mend)]
        for name in names:
            class_of(name.split(".")[0], CLASSES, f"{path}: {name}", mend)
        annotations.append(path)
        found[split] = names
    return found


def read_jams(path: Path, mend: str) -> BeatTimes:
    """Beats of a JAMS file: annotations of namespace "beat", told apart by sandbox.annotation_type."""
    found, times = json_of(path, mend), {"beat": np.zeros(0), "downbeat": np.zeros(0)}
    try:
        for annotation in found["annotations"]:
            kind = annotation["sandbox"].get("annotation_type") if annotation["namespace"] == "beat" else None
            if kind in times:
                times[kind] = _jams_times(annotation["data"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MertError(f"{path}: no beats in JAMS ({type(error).__name__}: {error}); {mend}") from None
    return _checked(times["beat"], times["downbeat"], path, mend)


def _jams_times(found) -> np.ndarray:
    """Seconds of observations: a list of objects, or as JAMS wrote them first, an object of lists."""
    seconds = found["time"] if isinstance(found, dict) else [observation["time"] for observation in found]
    return np.sort(np.array(seconds, np.float64))


def read_beats(path: Path, mend: str) -> BeatTimes:
    """Beats of a text file: seconds and the place in the bar, from 1, per line."""
    try:
        rows = np.array([line.split()[:2] for line in lines_of(path, mend)], np.float64).reshape(-1, 2)
    except ValueError as error:
        raise MertError(f"{path}: two numbers per line expected ({error}); {mend}") from None
    return _checked(rows[:, 0], rows[rows[:, 1] == 1, 0], path, mend)


def _checked(beats: np.ndarray, downbeats: np.ndarray, path: Path, mend: str) -> BeatTimes:
    if not len(beats) or not np.isfinite(beats).all() or (np.diff(beats) < 0).any():
        raise MertError(f"{path}: {len(beats)} beats; at least one expected, in order of time; {mend}")
    return BeatTimes(beats, downbeats)


def _within(beats: BeatTimes, path: Path) -> BeatTimes:
    try:
        info = audio_info(path)
    except AudioError:  # the check of the audio names it
        return beats
    end = info.native_frames / info.native_rate
    return BeatTimes(beats.beats[beats.beats < end], beats.downbeats[beats.downbeats < end])
