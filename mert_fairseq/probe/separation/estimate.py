"""What a run will cost, from trying each part once on noise."""

import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Sequence

import torch

from mert_fairseq.frames import HOP, SAMPLE_RATE
from mert_fairseq.probe.separation.inference import WINDOW, split
from mert_fairseq.probe.separation.listening import Listener
from mert_fairseq.probe.separation.memory import encoder_bytes, network_bytes, run_bytes
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.spectrogram import NUM_BINS, num_frames
from mert_fairseq.probe.separation.stem_training import StemTraining
from mert_fairseq.probe.separation.stored_features import num_bytes
from mert_fairseq.probe.separation.tracks import NATIVE_RATE, Track

TRIED = 4  # mixes of the tried update; on a GPU more would cost little more, so that its estimate is high


@dataclass(frozen=True)
class Estimate:
    """What is left of a run.

    Attributes:
        epoch_s: seconds of an epoch, its validation included; first_epoch_s: of the first, in which features are stored.
        epochs: that are left, at most.
        test_s: seconds for the test songs.
        memory, disk: bytes.
    """

    first_epoch_s: float
    epoch_s: float
    epochs: int
    test_s: float
    memory: int
    disk: int

    @property
    def seconds(self) -> float:
        """Until the end, at most: early stopping mostly comes before the last epoch."""
        return self.first_epoch_s * min(1, self.epochs) + self.epoch_s * max(0, self.epochs - 1) + self.test_s

    def describe(self) -> str:
        """One line for people."""
        parts = f"{self.epochs} epochs of {_for_people(self.epoch_s)}, test {_for_people(self.test_s)}"
        room = f"memory about {self.memory / 1e9:.2f} GB, disk {self.disk / 1e9:.2f} GB"
        return f"separation: at most {_for_people(self.seconds)} ({parts}), {room}"


def _for_people(seconds: float) -> str:
    size, unit = next((size, unit) for size, unit in ((3600, "h"), (60, "min"), (0, "s")) if seconds >= 2 * size)
    return f"{seconds / (size or 1):.1f} {unit}"


def estimate(
    listener: Listener, splits: Dict[str, Sequence[Track]], settings: SeparationSettings, epochs: int, test_songs: int
) -> Estimate:
    """Tries the encoder on one mix, one update, and one window of a song.

    Args:
        epochs: at most, that are left to train.
        test_songs: that are left to score.
    """
    seconds = {name: sum(track.num_samples for track in tracks) / NATIVE_RATE for name, tracks in splits.items()}
    heard, update, masking, filtering = _rates(listener, settings)
    mixes = len(splits["train"]) * settings.samples_per_track
    hearing = heard * (mixes * settings.chunk_s + seconds["valid"])
    heads = update * mixes + masking * seconds["valid"]
    test = seconds["test"] * test_songs / len(splits["test"]) * (heard + masking + filtering)
    longest = max(track.num_samples for tracks in splits.values() for track in tracks) / NATIVE_RATE
    memory = run_bytes(listener, settings, longest) + encoder_bytes(listener.encoder, settings)
    disk = num_bytes(listener.encoder, settings, mixes, splits["valid"]) if settings.stored_mixes else 0
    disk += len(settings.targets) * 4 * network_bytes(listener, settings)  # the best one, and the last with two moments
    return Estimate(hearing + heads, heads if settings.stored_mixes else hearing + heads, epochs, test, memory, disk)


def _rates(listener: Listener, settings: SeparationSettings) -> List[float]:
    """Seconds to hear a second of audio, to train on a mix, to mask and to filter a second of a song; for all stems together."""
    samples, device = settings.chunk_frames * HOP, listener.encoder.device
    noise = torch.randn(1, samples, generator=torch.Generator().manual_seed(0)) * 0.1
    features = listener.chunks(noise.to(device), [0])
    heard = _time(lambda: listener.chunks(noise.to(device), [0]), device) / settings.chunk_s
    training, mixes = StemTraining(settings.targets[0], listener, settings), min(TRIED, settings.batch)
    batch = features.expand(-1, mixes, -1, -1)
    magnitude = torch.ones(mixes, num_frames(samples), NUM_BINS, device=device)
    update = _time(lambda: training.update(batch, magnitude, magnitude, 0), device) / mixes
    network = training.network.eval()
    with torch.no_grad():
        masking = _time(lambda: network.mask(network.mix_layers(features)), device) / settings.chunk_s
    wave = torch.randn(2, WINDOW * HOP, generator=torch.Generator().manual_seed(1)) * 0.1
    masks = {settings.targets[0]: torch.full((num_frames(wave.size(1)), NUM_BINS), 0.5, device=device)}
    filtering = _time(lambda: split(masks, wave, settings.wiener), device) / (wave.size(1) / SAMPLE_RATE)
    stems = len(settings.targets)
    return [heard, stems * update, stems * masking, stems * filtering]


def _time(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of a second call."""
    taken = 0.0
    for _ in range(2):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken = time.perf_counter() - start
    return taken
