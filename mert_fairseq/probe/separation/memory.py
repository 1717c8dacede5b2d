"""Memory that a run takes at its worst, on the device and beside it together."""

from pathlib import Path

import torch

from mert_fairseq.frames import FRAME_RATE, HOP, SAMPLE_RATE
from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.separation.listening import Listener
from mert_fairseq.probe.separation.network import SeparationNetwork
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.spectrogram import NUM_BINS, num_frames
from mert_fairseq.resident_memory import resident_bytes

FLOAT, COMPLEX = 4, 8  # bytes
TRIED_S = 6.0
RESET = Path("/proc/self/clear_refs")


def run_bytes(listener: Listener, settings: SeparationSettings, longest_s: float) -> int:
    """Of what is not the encoder at work: what the process has already, networks with their optimizers, a batch and the longest song.

    The last two are not needed at the same time, but what one leaves is not always given back before the other.
    """
    networks = len(settings.targets) * 4 * network_bytes(listener, settings)  # weights, gradients, two moments
    return (resident_bytes("VmRSS") or 0) + networks + _batch_bytes(listener, settings) + _song_bytes(listener, settings, longest_s)


def network_bytes(listener: Listener, settings: SeparationSettings) -> int:
    """Of one stem's weights."""
    with torch.device("meta"):
        network = SeparationNetwork(listener.num_layers, listener.encoder.dim, settings)
    return FLOAT * sum(parameter.numel() for parameter in network.parameters())


def _batch_bytes(listener: Listener, settings: SeparationSettings) -> int:
    frames, samples = settings.batch * (settings.chunk_frames + 1), settings.batch * settings.chunk_frames * HOP
    waves = 2 * samples * 4 * 2 * FLOAT  # four stereo stems of this batch and the next
    features = frames * listener.encoder.dim * (listener.num_layers + 1) * FLOAT
    kept = frames * (settings.hidden * (10 * settings.lstm_layers + 8) + 10 * NUM_BINS) * FLOAT  # for the backward pass
    return waves + features + kept


def _song_bytes(listener: Listener, settings: SeparationSettings, longest_s: float) -> int:
    frames, stems = num_frames(round(longest_s * SAMPLE_RATE)), len(settings.targets)
    waves = longest_s * SAMPLE_RATE * 2 * FLOAT * (5 + 2 * stems)
    spectra = frames * NUM_BINS * (2 * COMPLEX * (2 + stems) + stems * 3 * FLOAT)
    piece = settings.piece_s * FRAME_RATE * listener.encoder.dim * (listener.num_layers + 1) * FLOAT
    return int(waves + spectra + piece + frames * listener.encoder.dim * stems * FLOAT)


def encoder_bytes(encoder: ProbedEncoder, settings: SeparationSettings) -> int:
    """Of the encoder at work, measured on six seconds; at the most it hears one piece, or `encoder_batch` mixes, at a time.

    0 where the system does not tell (on a CPU, other than Linux).
    """
    wave = torch.zeros(1, round(TRIED_S * SAMPLE_RATE))
    most_s = max(settings.piece_s, settings.encoder_batch * settings.chunk_s)
    if encoder.device.type == "cuda":
        before = torch.cuda.memory_allocated(encoder.device)
        torch.cuda.reset_peak_memory_stats(encoder.device)
        encoder.hidden_states(wave, settings.layer)
        return int((torch.cuda.max_memory_allocated(encoder.device) - before) * most_s / TRIED_S)
    before = resident_bytes("VmRSS") if _reset_peak() else None
    if before is None:
        return 0
    with torch.no_grad():
        encoder.hidden_states(wave, settings.layer)
    return int(max(0, resident_bytes("VmHWM") - before) * most_s / TRIED_S)


def _reset_peak() -> bool:
    """Whether Linux let the peak begin anew."""
    try:
        RESET.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True
