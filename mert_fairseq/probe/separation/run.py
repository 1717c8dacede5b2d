"""The whole task: networks trained, test songs taken apart and scored."""

import logging
from pathlib import Path
from typing import Callable, Dict

from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.items import TaskData
from mert_fairseq.probe.separation.data import open_tracks
from mert_fairseq.probe.separation.estimate import estimate
from mert_fairseq.probe.separation.listening import Listener
from mert_fairseq.probe.separation.run_folder import RunFolder
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.song_scores import score_songs
from mert_fairseq.probe.separation.stored_features import KeepingListener
from mert_fairseq.probe.separation.training import Progress, Training

logger = logging.getLogger(__name__)


def separate_and_score(
    encoder: ProbedEncoder,
    data: TaskData,
    settings: SeparationSettings,
    out_dir: Path,
    progress: Progress = lambda what, done, total: None,
    say: Callable[[str], None] = logger.info,
) -> Dict[str, Dict[str, float]]:
    """Trains a network per stem and scores the test songs; may be killed and called again, and then goes on exactly.

    An estimate of time and memory is said before training starts.

    Args:
        encoder: stays as it is.
        data: items of kind "stems": path is a track's folder or .stem.mp4 file.
        out_dir: of this run alone, see `run_folder`.
        progress: told what is being done, how much of it is, and of how much.
        say: told the estimate, one line.

    Returns:
        SDR in dB (`scoring.global_sdr`) per test song and stem. The published score of a stem is the mean over songs.

    Raises:
        MertError: a setting, a track or the folder is not as it must be.
    """
    settings.check(encoder)
    out_dir = Path(out_dir)
    splits = open_tracks(data, settings, out_dir / "decoded", progress)
    folder = RunFolder(out_dir, encoder, settings, splits)
    listener = Listener(encoder, settings)
    training = Training(_training_listener(listener, settings, out_dir, len(splits["train"])), settings, folder, splits)
    left = sum(track.name not in folder.scores() for track in splits["test"])
    if training.active or left:
        epochs = settings.epochs - training.epoch if training.active else 0
        say(estimate(listener, splits, settings, epochs, left).describe())
    training.run(progress)
    scores = score_songs(training.best_networks(), listener, settings, folder, splits["test"], progress)
    return {song: {stem: score["sdr"] for stem, score in stems.items()} for song, stems in scores.items()}


def _training_listener(listener: Listener, settings: SeparationSettings, out_dir: Path, num_tracks: int) -> Listener:
    if not settings.stored_mixes:
        return listener
    return KeepingListener(listener.encoder, settings, out_dir / "features", num_tracks * settings.samples_per_track)
