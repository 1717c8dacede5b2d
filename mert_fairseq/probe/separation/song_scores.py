"""Test songs taken apart by the best networks, and scored."""

import logging
from typing import Any, Dict, Sequence

import numpy as np
import torch
from torch import Tensor
from torchaudio.functional import resample

from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.probe.separation.inference import song_masks, split
from mert_fairseq.probe.separation.listening import Listener
from mert_fairseq.probe.separation.network import SeparationNetwork
from mert_fairseq.probe.separation.run_folder import RunFolder
from mert_fairseq.probe.separation.scoring import global_sdr, median_sdr
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.tracks import NATIVE_RATE, Track, read_song
from mert_fairseq.probe.separation.training import Progress

logger = logging.getLogger(__name__)
Score = Dict[str, Any]


def score_songs(
    networks: Dict[str, SeparationNetwork],
    listener: Listener,
    settings: SeparationSettings,
    folder: RunFolder,
    tracks: Sequence[Track],
    progress: Progress,
) -> Dict[str, Dict[str, Score]]:
    """Scores per song and stem: "sdr" (`scoring.global_sdr`) and "sdr_median" (museval's), dB; songs that are done are not done again."""
    songs = folder.scores()
    for done, track in enumerate(tracks, 1):
        if track.name not in songs:
            songs[track.name] = score_song(networks, listener, settings, track)
            folder.save_scores(songs, None)
        progress("test", done, len(tracks))
    mean = {stem: float(np.mean([song[stem]["sdr"] for song in songs.values()])) for stem in networks}
    folder.save_scores(songs, mean)
    return songs


def score_song(networks: Dict[str, SeparationNetwork], listener: Listener, settings: SeparationSettings, track: Track) -> Dict[str, Score]:
    """Scores of one song's stems; raises MertError for estimates that are not finite."""
    mixture, *references = read_song(track, ["mixture", *networks])
    estimates = list(split(song_masks(networks, listener, mixture, track.name), mixture, settings.wiener).values())
    if settings.score_rate == NATIVE_RATE:
        references = [torch.from_numpy(track.read([stem], 0, track.num_samples)[0]) for stem in networks]
        estimates = [_at_native_rate(wave, track.num_samples) for wave in estimates]
    medians = median_sdr(torch.stack(references), torch.stack(estimates), settings.score_rate)
    for stem, reference in zip(networks, references):
        if not reference.any():
            logger.warning(f"{track.name}: {stem} is silent; its SDR counts in the mean, as published, and says little")
    found = {stem: global_sdr(reference, estimate) for stem, reference, estimate in zip(networks, references, estimates)}
    for stem, sdr in found.items():
        if not np.isfinite(sdr):
            raise MertError(f"{track.name}: SDR of {stem} is {sdr}; the encoder's weights or its precision are at fault")
    medians = [float(median) if np.isfinite(median) else None for median in medians]
    return {stem: {"sdr": found[stem], "sdr_median": median} for stem, median in zip(found, medians)}


def _at_native_rate(wave: Tensor, num_samples: int) -> Tensor:
    """[channels, S] at 24 kHz -> [channels, num_samples] at 44.1 kHz."""
    return resample(wave, SAMPLE_RATE, NATIVE_RATE)[..., :num_samples]
