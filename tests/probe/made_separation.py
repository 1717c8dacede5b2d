"""Small runs of separation as they lie on disk, made without music; and an encoder that tells which samples it heard."""

from types import SimpleNamespace

import torch

from mert_fairseq.frames import receptive_field
from mert_fairseq.probe.separation.run_folder import RunFolder
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.stem_training import StemTraining

SETTINGS = SeparationSettings(targets=("vocals",), hidden=4, lstm_layers=1)
LISTENER = SimpleNamespace(num_layers=1, encoder=SimpleNamespace(dim=2, device=torch.device("cpu"), weights_hash="0"))
SCORES = {"a song": {"vocals": {"sdr": 1.5, "sdr_median": None}}}


class CountingEncoder:
    """State l of frame t is (l, first sample of the frame / 320), from waves that count their samples.

    Attributes:
        heard: shapes of the waves it was given.
    """

    name, dim, device, weights_hash = "counting", 2, torch.device("cpu"), "counting"

    def __init__(self, num_layers=3, frame_rate=75.0):
        self.num_layers, self.frame_rate, self.hop = num_layers, frame_rate, round(24_000 / frame_rate)
        self.shortest, self.heard = receptive_field() if frame_rate == 75 else self.hop, []

    @torch.inference_mode()
    def hidden_states(self, wave, last=None):
        self.heard.append(tuple(wave.shape))
        first = wave.unfold(1, self.shortest, self.hop)[..., 0] / 320
        return [torch.stack([torch.full_like(first, layer), first], -1) for layer in range((self.num_layers if last is None else last) + 1)]


def counting(num_samples, start=0):
    """A wave that counts its samples."""
    return torch.arange(start, start + num_samples, dtype=torch.float32)


def stems_of(settings):
    """Untrained networks of a run, by stem."""
    return {stem: StemTraining(stem, LISTENER, settings) for stem in settings.targets}


def opened_run(folder):
    """The run folder."""
    return RunFolder(folder, LISTENER.encoder, SETTINGS, {})


def make_run(folder):
    """A run folder after an epoch: state, best network, scores of one song."""
    run, stems = opened_run(folder), list(stems_of(SETTINGS).values())
    stems[0].judge(1.25, 0)
    run.save_network(stems[0])
    run.save_training(stems, 1, 0)
    run.save_scores(SCORES, {"vocals": 1.5})


def made_run(folder):
    """All that is read of it, as what can be compared."""
    run, stems = opened_run(folder), list(stems_of(SETTINGS).values())
    place, (stem,) = run.load_training(stems), stems
    found = [_bytes(stem.network)]
    run.load_network(stem)
    found.append(_bytes(stem.network))
    return {"place": place, "best": (stem.best_sdr, stem.best_epoch, stem.done), "weights": found, "scores": run.scores()}


def _bytes(network):
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}
