"""Jobs through submitit: what is asked of the scheduler, the file that says so, and handing them in."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import cloudpickle
import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor, _convert_mem, _make_sbatch_string

from mert_fairseq.cli import shard_job, train_job
from mert_fairseq.errors import MertError

CLUSTERS = ("slurm", "local")
NO_LIMIT_MIN = 10 * 365 * 24 * 60  # submitit's own default for this machine is 2 minutes
SIGNAL_S = 120  # seconds before the time limit at which a job hears of it

cloudpickle.register_pickle_by_value(shard_job)
cloudpickle.register_pickle_by_value(train_job)


def job_parameters(name: str, site: Dict[str, Any], nodes: int = 1, tasks_per_node: int = 1, gpus_per_node: Optional[int] = None) -> Dict:
    """submitit's parameters of a job.

    Args:
        site: of `read_site`; its number of GPUs gives way to `gpus_per_node`.
    """
    parameters = {key: value for key, value in site.items() if key != "gpus_per_node"}
    # srun does not take the cores over from the job, and lets the other tasks wait for one that was killed
    srun = [f"--cpus-per-task={site['cpus_per_task']}", "--kill-on-bad-exit=1"]
    threads = 'export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK}"'
    parameters.update(
        name=name,
        nodes=nodes,
        tasks_per_node=tasks_per_node,
        slurm_srun_args=srun,
        slurm_signal_delay_s=SIGNAL_S,
        slurm_setup=[*site.get("slurm_setup", []), threads],
        slurm_additional_parameters={"requeue": True, **site.get("slurm_additional_parameters", {})},
    )
    return {**parameters, "gpus_per_node": gpus_per_node} if gpus_per_node else parameters


def sbatch_text(parameters: Dict[str, Any], folder: Path, num_jobs: int = 1) -> str:
    """The file that would be given to sbatch; needs no Slurm."""
    names = SlurmExecutor._equivalence_dict()
    flat = {names.get(key, key.removeprefix("slurm_")): value for key, value in parameters.items()}
    flat["mem"] = _convert_mem(flat["mem"])
    if num_jobs > 1:
        flat["map_count"] = num_jobs
    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    return _make_sbatch_string(command=command, folder=folder, **flat)


def submit_jobs(cluster: str, parameters: Dict[str, Any], folder: Path, jobs: Sequence[Callable]) -> List[submitit.Job]:
    """Submits them; several are one array.

    Raises:
        MertError: no Slurm here, or the scheduler refuses.
    """
    if cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise MertError("no sbatch and srun on this machine; run on a login node, or give --cluster local, or --dry-run")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # requeued without end as long as there is progress, which the job itself watches
        executor = submitit.AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=10**6)
        if cluster == "local":
            executor.update_parameters(timeout_min=NO_LIMIT_MIN, gpus_per_node=parameters.get("gpus_per_node", 0))
        else:
            executor.update_parameters(**parameters)
        return executor.submit_array(jobs)
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        raise MertError(f"cannot be submitted ({str(error).strip().rsplit(chr(10), 1)[-1]}); see --site") from None
