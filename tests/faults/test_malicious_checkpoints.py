"""Checkpoints made to do harm, given to everything that reads weights: refused in one line, and nothing in them is run."""

import itertools
import pickle
import re

import malicious_files
import pytest
import torch
from limited_memory import little_memory
from made_checkpoints import write_checkpoint
from malicious_pickles import FORMS, PAYLOADS, PLACES
from weight_readers import READERS, read_safetensors

from mert_fairseq.checkpoint_limits import check_archive


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Content of a sound checkpoint."""
    return write_checkpoint(tmp_path_factory.mktemp("sound") / "checkpoint_last.pt").state


def given(faults, fault, shown, canary):
    """Counts what became of a file; the canary must not be there."""
    outcome = "lost" if canary is not None and canary.exists() else shown.outcome
    faults.record(fault, "silent" if outcome == "survived" else outcome, shown.text)


def attacks():
    """(payload, form, place): every payload in every place, and in every form."""
    placed = [(payload, "zip", place) for payload in PAYLOADS for place in PLACES]
    return placed + [(payload, form, "among the weights") for payload in PAYLOADS for form in FORMS if form != "zip"]


@pytest.mark.parametrize("number, reader", enumerate(READERS), ids=list(READERS))
def test_pickles_are_refused_unexecuted(faults, state, tmp_path, number, reader):
    """The short form shares the attacks out among the readers; the long one gives each all of them."""
    chosen = attacks()[number :: faults.times(len(READERS), 1)]
    for count, (payload, form, place) in enumerate(chosen):
        canary, folder = tmp_path / f"canary{count}", tmp_path / str(count)
        data = FORMS[form](PLACES[place](state, PAYLOADS[payload](canary)))
        given(faults, f"malicious pickle: {reader}", READERS[reader](folder, data), canary)


@pytest.mark.parametrize("payload, form", itertools.product(PAYLOADS, FORMS))
def test_the_harm_is_real(payload, form, tmp_path):
    """Python's own loader runs every one of them."""
    path, canary = tmp_path / "given.pt", tmp_path / "canary"
    path.write_bytes(FORMS[form]({"harm": PAYLOADS[payload](canary)}))
    try:
        if form.startswith("protocol"):
            pickle.loads(path.read_bytes())  # noqa: S301  the harm is what is looked at
        else:
            torch.load(path, weights_only=False)
    except Exception:  # noqa: BLE001  what comes of it afterwards is of no interest
        pass
    assert canary.exists()


BUILDING = [reader for reader in READERS if reader not in ("resume", "choice of a checkpoint")]  # which build what the settings say


@pytest.mark.parametrize("reader", BUILDING)
def test_settings_that_would_be_evaluated(faults, state, tmp_path, reader):
    """Nothing is wrong with these pickles, and what is not asked for in them does no harm; fairseq evaluates strings in settings."""
    canary = tmp_path / "canary"
    for name, data in malicious_files.disguised(state, canary).items():
        shown = READERS[reader](tmp_path / name, data)
        outcome = "lost" if canary.exists() else shown.outcome
        faults.record(f"settings to be evaluated: {reader}", outcome, f"{name}: {shown.text}")
        assert shown.outcome == "refused" or name in ("an optimizer", "another task") or " in args" in name


@pytest.mark.parametrize("reader", READERS)
def test_archives_and_claims(faults, state, tmp_path, reader):
    outside = {tmp_path.parent / "outside", tmp_path / "outside"}
    makers = malicious_files.ARCHIVES | (malicious_files.LARGE_MODELS if reader in BUILDING else {})
    archives = {name: make(state) for name, make in makers.items()}
    for name, data in {**archives, "a torchscript archive": malicious_files.torchscript(tmp_path)}.items():
        assert len(data) < 10 << 20
        with little_memory():
            shown = READERS[reader](tmp_path / name, data)
        outcome = "lost" if any(path.exists() for path in outside) else shown.outcome
        faults.record(f"malicious archive: {reader}", "silent" if outcome == "survived" else outcome, f"{name}: {shown.text}")


REASONS = {
    "a record outside": "a record named '../../outside'",
    "a record at the root": "a record named '/tmp/outside'",
    "a bomb": "its records are compressed",
    "claims of 4 GB": "its records claim more bytes than it has",
}


@pytest.mark.parametrize("name", REASONS)
def test_why_an_archive_is_refused(state, tmp_path, name):
    """Before anything else of it is looked at: torch, or Python's zipfile, may refuse it as well, or may not one day."""
    (tmp_path / "given.pt").write_bytes(malicious_files.ARCHIVES[name](state))
    with little_memory(), pytest.raises(ValueError, match=re.escape(REASONS[name])):
        check_archive(str(tmp_path / "given.pt"))


@pytest.mark.parametrize("reader", ["import", "export", "report"])
def test_a_large_model_is_refused_before_it_is_built(state, tmp_path, reader):
    """One that memory would hold, so that a check that is gone shows as another message and not as a dead machine."""
    settings = {**state["cfg"]["model"], "encoder_embed_dim": 512, "encoder_ffn_embed_dim": 2048}
    data = malicious_files.saved({**state, "cfg": {**state["cfg"], "model": settings}})
    assert "they ask for" in READERS[reader](tmp_path / "large", data).text


@pytest.mark.parametrize("name", malicious_files.SAFETENSORS)
def test_safetensors(faults, tmp_path, name):
    with little_memory():
        shown = read_safetensors(tmp_path, malicious_files.SAFETENSORS[name])
    faults.record("malicious safetensors", "silent" if shown.outcome == "survived" else shown.outcome, f"{name}: {shown.text}")
