"""A Slurm cluster of two nodes as the tests see it: submit, wait, and break what runs on it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, List

SCRIPTS = Path(__file__).parent / "slurm"
REPOSITORY = Path(__file__).parents[2]
CANNOT = 77  # exit code of the scripts where Slurm cannot be installed or started


class CannotStart(Exception):
    """Slurm cannot run here; the message says why."""


class Cluster:
    """Started by `start`, ended by `stop`.

    Args:
        folder: of state and logs.
        net: "loop", all nodes on one loopback; or "netns", each in a network namespace of its own.
    """

    def __init__(self, folder: Path, net: str):
        self.folder = folder
        self.nodes = ["n1", "n2"] if net == "loop" else ["m1", "m2"]
        self._settings = {**os.environ, "NET": net, "PORT": str(_free_port())}
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))}
        path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        #: For whatever speaks to this cluster: commands and training of the environment the tests run in, one thread each.
        self.environment: Dict[str, str] = {
            **outside, "SLURM_CONF": str(folder / "etc" / "slurm.conf"), "PATH": path, "OMP_NUM_THREADS": "1"
        }

    def start(self) -> None:
        """Installs Slurm if need be, and starts what does not run: the whole cluster, or a node that was killed.

        Raises:
            CannotStart: not possible here.
        """
        for script in (["install.sh"], ["start.sh", str(self.folder)]):
            log = self.folder / "start.log"
            with open(log, "w") as output:  # no pipe: the daemons keep it open
                result = subprocess.run([SCRIPTS / script[0], *script[1:]], env=self._settings, stdout=output, stderr=subprocess.STDOUT)
            said = log.read_text(encoding="utf-8", errors="replace").strip()
            if result.returncode == CANNOT:
                raise CannotStart(said.rsplit("\n", 1)[-1])
            assert result.returncode == 0, said[-3000:]

    def stop(self) -> None:
        if (self.folder / "settings").exists():
            subprocess.run([SCRIPTS / "stop.sh", str(self.folder)], check=True)

    def run(self, *command: str, folder: Path = REPOSITORY, **options) -> subprocess.CompletedProcess:
        """A command of the login node, to its end."""
        options = {"env": self.environment, "timeout": 300, **options}
        return subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, **options)

    def submit(self, folder: Path, *command: str, site: Path, **options) -> "Job":
        """`. slurm/site.sh; sbatch $SITE OPTIONS SCRIPT ARGUMENTS`, given in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        result = self.run("bash", "-c", '. "$0"; exec sbatch --parsable $SITE "$@"', site, *command, folder=folder, **options)
        assert result.returncode == 0, result.stderr
        return Job(self, result.stdout.strip(), folder)

    def kill_node(self, node: str, processes: List[int] = ()) -> None:
        """SIGKILL to the daemon of a node, and to processes that go with it."""
        daemon = int((self.folder / "run" / f"slurmd.{node}.pid").read_text())
        for process in (daemon, *processes):
            os.kill(process, signal.SIGKILL)


class Job:
    """A job, or an array of them."""

    def __init__(self, cluster: Cluster, number: str, folder: Path):
        self.cluster, self.number, self.folder = cluster, number, folder

    def field(self, name: str) -> str:
        """Of what the controller knows, e.g. JobState, Restarts."""
        words = self.cluster.run("scontrol", "-o", "show", "job", self.number).stdout.split()
        return dict(word.split("=", 1) for word in words if "=" in word)[name]

    def states(self) -> List[str]:
        """Of each task of the array, or of the one job."""
        return self.cluster.run("squeue", "-h", "-r", "--states=all", "-j", self.number, "-o", "%T").stdout.split()

    def wait(self, seconds: float = 240) -> "Job":
        """Until nothing of it waits or runs."""
        over = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY"}
        self.until(lambda: (states := self.states()) and over.issuperset(states), seconds, 0.3)
        return self

    def until(self, happened, seconds: float = 120, poll_s: float = 0.05) -> None:
        """Waits for something to be true; the logs are in the message if it never is."""
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline, f"not within {seconds} s; states {self.states()}\n{self.log()[-6000:]}"
            time.sleep(poll_s)

    def log(self) -> str:
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files)

    def batch_script(self) -> int:
        """Process number of the shell that runs the batch script."""
        return next(pid for pid, words, _ in _processes() if any(f"job{int(self.number):05d}/slurm_script" in word for word in words))

    def training(self, rank: int) -> int:
        """Process number of the training of a rank."""
        return next(pid for pid in self._step(rank) if _parent_name(pid) == "bash")

    def on_node(self, rank: int) -> List[int]:
        """All processes of a rank, and what started them."""
        mine = list(self._step(rank))
        daemons = {_parent(pid) for pid in mine} - set(mine)
        return [*daemons, *mine]

    def _step(self, rank: int) -> Iterator[int]:
        conf = self.cluster.environment["SLURM_CONF"]
        wanted = {f"SLURM_JOB_ID={self.number}", f"SLURM_PROCID={rank}", "SLURM_STEP_NUM_TASKS=2", f"SLURM_CONF={conf}"}
        for pid, words, environment in _processes():
            if wanted <= environment and "srun" not in words[0]:
                yield pid


def _processes() -> Iterator[tuple]:
    """Process number, command line and environment of all there are."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words, environment = ((folder / name).read_bytes().decode(errors="replace").split("\0") for name in ("cmdline", "environ"))
            except OSError:
                continue  # ended meanwhile
            if words[0]:
                yield int(folder.name), words, set(environment)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def _parent_name(pid: int) -> str:
    return Path(f"/proc/{_parent(pid)}/comm").read_text().strip()


def _free_port() -> int:
    """The first of three that are free: controller and two nodes."""
    for port in range(16817, 32000, 10):
        try:
            for number in range(port, port + 3):
                with socket.create_server(("", number)):
                    pass
        except OSError:
            continue
        return port
    raise CannotStart("no three free ports in a row")
