"""Processes that train together agree on the checkpoint: the first decides for all, and all must see the same."""

import pytest
import torch

from mert_fairseq.errors import MertError
from mert_fairseq.resume import agreed, check_seen_by_all


def test_a_single_process_agrees_with_itself():
    assert agreed(lambda: 3) == 3


def answers(act, folder):
    """What each of two processes that train together says of `act(rank)`, refusals too."""

    def run(rank):
        torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
        try:
            said = act(rank)
        except (MertError, RuntimeError) as error:
            said = f"{'refused' if isinstance(error, MertError) else 'broke off'}: {error}"
        (folder / f"said{rank}").write_text(str(said))

    torch.multiprocessing.start_processes(run, nprocs=2, start_method="fork")
    return [(folder / f"said{rank}").read_text() for rank in range(2)]


@pytest.mark.parametrize("sizes,seen", [((500, 500), "alike"), ((500, 400), "[500, 400]"), ((500, None), "[500, None]")])
def test_a_checkpoint_that_not_all_see_is_refused(tmp_path, sizes, seen):
    """As on disks of the nodes' own: some would begin anew where others go on."""
    for rank, size in enumerate(sizes):
        (tmp_path / str(rank)).mkdir()
        if size is not None:
            (tmp_path / str(rank) / "checkpoint_last.pt").write_bytes(bytes(size))
    said = answers(lambda rank: check_seen_by_all(str(tmp_path / str(rank) / "checkpoint_last.pt")), tmp_path)
    if seen == "alike":
        assert said == ["None", "None"]
    else:
        assert all(f"not the same to all processes (bytes seen by each: {seen}); checkpoint.save_dir must lie on" in text for text in said)


def test_the_first_process_decides_for_all(tmp_path):
    def refuse():
        raise MertError("no checkpoint")

    def decide(rank):
        return agreed(refuse if rank == 0 else lambda: "of its own mind")

    assert answers(decide, tmp_path) == ["refused: no checkpoint"] * 2
    (tmp_path / "meeting").unlink(missing_ok=True)
    assert answers(lambda rank: agreed(lambda: rank + 7), tmp_path) == ["7", "7"]


def test_an_accident_of_the_first_process_ends_all(tmp_path):
    """Also one that cannot be sent as it is."""

    class Accident(RuntimeError):
        def __reduce__(self):
            raise TypeError("not to be sent")

    def break_off():
        raise Accident("stale file handle")

    said = answers(lambda rank: agreed(break_off if rank == 0 else lambda: "of its own mind"), tmp_path)
    assert said == ["broke off: stale file handle", "broke off: the first process: Accident: stale file handle"]
