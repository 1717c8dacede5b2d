"""The whole task on a miniature: what features tell is learned, a killed run goes on exactly, and nothing depends on what is beside it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_stems import STEMS, Killed, PilotEncoder, killed_at, musdb_item, write_musdb

from mert_fairseq.errors import MertError
from mert_fairseq.probe.encoders import open_encoder
from mert_fairseq.probe.separation.run import separate_and_score
from mert_fairseq.probe.separation.run_folder import RunFolder
from mert_fairseq.probe.separation.scoring import global_sdr
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.tracks import open_track, read_song

LEARNING = dict(hidden=16, lstm_layers=1, dropout=0.0, chunk_s=0.48, samples_per_track=16, batch=8, lr=2e-2, epochs=3, layer=1)
BRIEF = dict(hidden=8, lstm_layers=2, chunk_s=0.48, samples_per_track=2, batch=3, epochs=2, save_every_s=0.0)
TESTED = ["AM Contra - Heart Peripheral", "PR - Oh No"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_musdb(tmp_path_factory.mktemp("musdb18hq"))


def run(data, out, progress=lambda *_: None, encoder=None, **settings):
    return separate_and_score(encoder or PilotEncoder(), data, SeparationSettings(**{**BRIEF, **settings}), out, progress)


def mixture_sdr(data, stem) -> float:
    """Of the mixture taken for the stem, mean over the test songs."""
    songs = [read_song(open_track(item), ["mixture", stem]) for item in data.of("test")]
    return float(np.mean([global_sdr(reference, mixture) for mixture, reference in songs]))


def tensors(folder):
    """Best networks, and where training ended with what optimizers remember."""
    state = torch.load(folder / "training.pt", weights_only=True)["stems"]
    return [torch.load(folder / f"{stem}.pt", weights_only=True) for stem in STEMS] + [
        [state[stem]["network"], state[stem]["optimizer"]["state"]] for stem in STEMS
    ]


def written_scores(folder):
    return json.loads((folder / "scores_alone_24000.json").read_text())


def test_features_that_tell_the_stems_apart_separate_them_and_others_do_not(data, tmp_path):
    found = run(data, tmp_path / "pilots", **LEARNING)
    assert list(found) == TESTED and all(list(song) == list(STEMS) for song in found.values())
    blind = run(data, tmp_path / "blind", **{**LEARNING, "layer": 0, "targets": ("vocals",), "epochs": 2})
    for stem in STEMS:
        mean = np.mean([song[stem] for song in found.values()])
        assert mean > mixture_sdr(data, stem) + 6, stem
    assert np.mean([song["vocals"] for song in found.values()]) > np.mean([song["vocals"] for song in blind.values()]) + 3


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run(data, folder)


def test_killed_at_any_place_and_called_again_gives_the_same_numbers(data, uninterrupted, tmp_path):
    whole, scores = uninterrupted
    steps = []
    for what, number in (("epoch 1", 2), ("validation 1", 1), ("epoch 2", 1), ("test", 1)):
        with pytest.raises(Killed):
            run(data, tmp_path / "run", killed_at(what, number, steps))
    (tmp_path / "run" / ".vocals.pt.elsewhere.1.part").write_bytes(b"half")
    assert run(data, tmp_path / "run", lambda what, done, _: steps.append((what, done))) == scores
    again = [("epoch 1", 2), ("validation 1", 1), ("epoch 2", 1), ("test", 1)]  # what was not noted yet, and nothing else
    done = [("epoch 1", 1), ("epoch 1", 3), ("epoch 2", 2), ("epoch 2", 3), ("validation 2", 1), ("test", 2)]
    assert sorted(steps) == sorted(2 * again + done)
    torch.testing.assert_close(tensors(tmp_path / "run"), tensors(whole), rtol=0, atol=0)
    assert written_scores(tmp_path / "run") == written_scores(whole)


def test_a_finished_run_is_only_read(data, uninterrupted):
    folder, scores = uninterrupted
    encoder = PilotEncoder()
    assert run(data, folder, encoder=encoder) == scores and encoder.heard_s == 0


def test_other_scores_of_the_same_networks_need_no_training(data, uninterrupted):
    folder, scores = uninterrupted
    encoder, seen = PilotEncoder(), set()
    other = run(data, folder, lambda what, *_: seen.add(what), encoder, wiener="together", score_rate=44_100)
    assert seen == {"test"} and other != scores
    assert {path.name for path in folder.glob("scores*")} == {"scores_alone_24000.json", "scores_together_44100.json"}


def test_scores_file_has_both_measures_and_the_mean_over_songs(uninterrupted):
    folder, scores = uninterrupted
    written = written_scores(folder)
    assert list(written["songs"]) == TESTED
    for stem in STEMS:
        assert written["mean"][stem] == pytest.approx(np.mean([scores[song][stem] for song in TESTED]))
    one = written["songs"]["PR - Oh No"]["bass"]
    assert set(one) == {"sdr", "sdr_median"} and one["sdr"] == scores["PR - Oh No"]["bass"]


def test_a_stem_is_the_same_alone_and_beside_others_and_another_seed_is_not(data, uninterrupted, tmp_path):
    _, scores = uninterrupted
    alone = run(data, tmp_path / "alone", targets=("drums",), workers=3)
    assert {song: found["drums"] for song, found in alone.items()} == {song: found["drums"] for song, found in scores.items()}
    other = run(data, tmp_path / "other", targets=("drums",), seed=2)
    assert other != alone


def test_stored_mixes_are_heard_in_the_first_epoch_only(data, tmp_path):
    first, both = PilotEncoder(), PilotEncoder()
    stored = dict(stored_mixes=True, targets=("vocals",))
    run(data, tmp_path / "one", encoder=first, epochs=1, **stored)
    with pytest.raises(Killed):
        run(data, tmp_path / "two", killed_at("validation 1", 1), both, **stored)
    scores = run(data, tmp_path / "two", encoder=both, **stored)
    estimate_s = 3 * 0.48 + 6  # one more after the kill: a mix three times, and six seconds for memory
    assert both.heard_s == pytest.approx(first.heard_s + estimate_s)
    assert run(data, tmp_path / "whole", **stored) == scores


def test_early_stopping_ends_before_the_last_epoch(data, tmp_path):
    epochs = []
    run(data, tmp_path, lambda what, *_: epochs.append(what), epochs=9, patience=1, lr=1e-12, targets=("bass",))
    assert 1 < int(max(what.split()[1] for what in epochs if what.startswith("validation"))) < 9


def test_another_run_in_the_folder_is_refused(data, uninterrupted):
    folder, _ = uninterrupted
    with pytest.raises(MertError, match=r"holds another separation run .hidden 8 -> 16.; give another folder"):
        run(data, folder, hidden=16)
    encoder = PilotEncoder()
    encoder.weights_hash = "others"
    with pytest.raises(MertError, match="encoder pilots -> others"):
        run(data, folder, encoder=encoder)
    fewer = type(data)(data.items[1:], data.classes)
    with pytest.raises(MertError, match="holds another separation run .tracks"):
        run(fewer, folder)


def test_a_damaged_state_is_named(data, tmp_path):
    with pytest.raises(Killed):
        run(data, tmp_path, killed_at("epoch 1", 1))
    with pytest.raises(Killed):
        run(data, tmp_path, killed_at("epoch 1", 3))
    state = tmp_path / "training.pt"
    state.write_bytes(state.read_bytes()[:1_000])
    with pytest.raises(MertError, match="training.pt: truncated or not a training state .*; remove it to train anew"):
        run(data, tmp_path)


def test_a_loss_that_is_no_number_ends_the_run(data, tmp_path):
    class Broken(PilotEncoder):
        def hidden_states(self, wave, last=None):
            return [state * float("nan") for state in super().hidden_states(wave)]

    with pytest.raises(MertError, match="vocals: the loss of update 0 is nan"):
        run(data, tmp_path, encoder=Broken())


def test_our_encoders_and_log_mel_are_separated_with(data, tmp_path):
    for model, layer in (("random:mert_tiny", 1), ("logmel", None)):
        encoder = open_encoder(model, "cpu")
        found = run(data, tmp_path / model, encoder=encoder, layer=layer, epochs=1, targets=("vocals",))
        assert list(found) == TESTED and all(np.isfinite(song["vocals"]) for song in found.values())


def test_data_is_looked_at_before_the_encoder_hears_anything(data, tmp_path):
    encoder = PilotEncoder()
    broken = type(data)([*data.items, musdb_item(tmp_path / "gone", "test")], data.classes)
    with pytest.raises(MertError, match="gone: no such folder of a track"):
        run(broken, tmp_path / "out", encoder=encoder)
    assert encoder.heard_s == 0 and not (tmp_path / "out").exists()


def test_time_and_memory_are_told_before_training(data, tmp_path):
    said = []
    with pytest.raises(Killed):
        separate_and_score(PilotEncoder(), data, SeparationSettings(**BRIEF), tmp_path, killed_at("epoch 1", 1), said.append)
    (line,) = said
    assert line.startswith("separation: at most") and "2 epochs of" in line and "memory about" in line


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    encoder = SimpleNamespace(weights_hash="0")
    first = RunFolder(tmp_path, encoder, SeparationSettings(), {})
    with pytest.raises(MertError, match="another process works on this separation"):
        RunFolder(tmp_path, encoder, SeparationSettings(), {})
    del first
    RunFolder(tmp_path, encoder, SeparationSettings(), {})
