"""The files of a folder checked by several processes at once."""

import functools
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import List

import torch
from tqdm import tqdm

from mert_fairseq.data.file_check import CheckSettings, FileResult, check_file
from mert_fairseq.errors import MertError


def check_all(names: List[str], settings: CheckSettings, workers: int) -> List[FileResult]:
    """Check every file, in order, in `workers` processes; the progress bar is shown on a terminal only."""
    check = functools.partial(check_file, settings=settings)
    progress = functools.partial(tqdm, total=len(names), unit="file", desc="mert manifest", disable=None)
    if workers == 1:
        return list(progress(map(check, names)))
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None  # a forked worker has torch loaded
    results: List[FileResult] = []
    with ProcessPoolExecutor(workers, multiprocessing.get_context(method), _start_worker) as pool:
        try:
            for result in progress(pool.map(check, names, chunksize=1 if settings.convert_dir else 8)):
                results.append(result)
        except BrokenProcessPool as error:
            name = settings.audio_dir / names[len(results)]
            mend = "move that file away, or give fewer --workers if memory ran out"
            raise MertError(f"a worker process died at or soon after {name}; {mend}") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after an interrupt, nothing that was not begun
    return results


def _start_worker() -> None:
    """Leave Ctrl-C to the main process, end with it however it ends, and one thread to each worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """A pool's workers wait for work for ever where their parent was killed."""
    multiprocessing.parent_process().join()
    os._exit(1)
