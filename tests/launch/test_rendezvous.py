"""Where a run's processes meet, nobody else is let in: the store and gloo listen at the one address given."""

import logging
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from torch.distributed.rendezvous import rendezvous

from mert_fairseq.errors import MertError
from mert_fairseq.launch.processes import Processes
from mert_fairseq.launch.rendezvous import listen, listening_at_one_address
from mert_fairseq.launch.start import _settle

LISTENING = "0A"
LOOPBACK = {"0100007F", "00000000000000000000000001000000"}


def listening(processes):
    """(address, port) of all sockets that these processes listen at, as the kernel has them."""
    inodes = set()
    for process in processes:
        for link in Path(f"/proc/{process}/fd").iterdir():
            try:
                inodes.add(os.readlink(link))
            except FileNotFoundError:  # closed meanwhile
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in inodes:
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    return found


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_store_listens_at_the_loopback_address_alone(host, port):
    method = listening_at_one_address(f"tcp://{host}:{port}", {})
    store, rank, world_size = next(iter(rendezvous(method, rank=0, world_size=1)))
    store.set("met", "here")
    assert (store.get("met"), rank, world_size) == (b"here", 0, 1)
    assert {address for address, at in listening([os.getpid()]) if at == port} == {"0100007F"}


def test_another_address_of_the_machine_is_taken_as_given(port):
    """All of 127.0.0.0/8 is this machine's: 127.0.0.2 stands for the address of an interface."""
    store, _, _ = next(iter(rendezvous(listening_at_one_address(f"tcp://127.0.0.2:{port}", {}), rank=0, world_size=1)))
    assert {address for address, at in listening([os.getpid()]) if at == port} == {"0200007F"}
    del store


def test_torchs_own_store_would_listen_everywhere(port):
    """What this is for; should torch change, the module has done its service."""
    store, _, _ = next(iter(rendezvous(f"tcp://localhost:{port}", rank=0, world_size=1)))
    assert {address for address, at in listening([os.getpid()]) if at == port} == {"0" * 32}
    del store


def test_ways_to_meet():
    environ = {"MASTER_ADDR": "n1", "MASTER_PORT": "29500"}
    assert listening_at_one_address("env://", environ) == "mert-tcp://n1:29500"
    assert listening_at_one_address("env://", {**environ, "TORCHELASTIC_USE_AGENT_STORE": "True"}) == "env://"
    for host in ("fe80::1", "[fe80::1]"):
        assert listening_at_one_address("env://", {**environ, "MASTER_ADDR": host}) == "mert-tcp://[fe80::1]:29500"
    assert listening_at_one_address("file:///shared/meeting", {}) == "file:///shared/meeting"


def settled(settings, processes):
    """What fairseq is given."""
    distributed = {"distributed_world_size": 1, "distributed_rank": 0, "distributed_init_method": None, "device_id": 0, "ddp_backend": ""}
    distributed |= {"distributed_no_spawn": False, "distributed_num_procs": 1, "distributed_backend": "nccl", **settings}
    cfg = OmegaConf.create({"distributed_training": distributed, "common": {"cpu": True}, "checkpoint": {}, "model": {}})
    _settle(cfg, processes)
    return cfg


def test_training_is_told_to_meet_at_one_address(monkeypatch):
    """What fairseq hands to torch; and gloo's interface, where a user has not chosen one."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop("GLOO_SOCKET_IFNAME", None)
    cfg = settled({}, Processes(2, to_start=2, init_method="tcp://localhost:12345"))
    assert cfg.distributed_training.distributed_init_method == "mert-tcp://localhost:12345"
    assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"
    os.environ["GLOO_SOCKET_IFNAME"] = "eth7"
    settled({}, Processes(2, init_method="tcp://127.0.0.1:12345"))
    assert os.environ["GLOO_SOCKET_IFNAME"] == "eth7"
    del os.environ["GLOO_SOCKET_IFNAME"]
    settled({}, Processes(2, init_method="tcp://n1:12345"))
    assert "GLOO_SOCKET_IFNAME" not in os.environ


def test_a_name_that_is_loopback_to_its_own_machine_alone_is_said(port, monkeypatch, caplog):
    """Debian gives a machine's name the address 127.0.1.1: the other nodes know it under another."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", port))])
    caplog.set_level(logging.WARNING)
    with listen("n1", port) as listener:
        assert listener.getsockname() == ("0.0.0.0", port)
    assert "n1 is 127.0.1.1 to this machine, where others do not reach it" in caplog.text


def test_an_address_of_another_machine_is_refused(port):
    with pytest.raises(MertError, match="192.0.2.1 is no address of this machine"):  # RFC 5737: nobody's
        listen("192.0.2.1", port)


def test_an_unknown_host_is_refused(port):
    with pytest.raises(MertError, match="no such host"):
        listen("nobody.invalid", port)


def test_the_place_is_said(port, caplog):
    """As bound, and the setting that names another."""
    caplog.set_level(logging.INFO)
    with listen("localhost", port):
        assert f"the processes meet at 127.0.0.1, port {port} (localhost); distributed_training.distributed_init_method=" in caplog.text


def meeting(port, told):
    return next(iter(rendezvous(listening_at_one_address(f"tcp://127.0.0.1:{port}", {}, told), rank=0, world_size=1)))


def test_a_taken_port_that_nobody_has_set_is_no_fault_of_the_input(port):
    """A requeued job takes another one."""
    with listen("127.0.0.1", port), pytest.raises(OSError, match="Address already in use"):
        meeting(port, told=False)


def test_a_taken_port_that_was_set_is_one(port):
    with listen("127.0.0.1", port), pytest.raises(MertError, match=f":{port}: cannot be listened at .Address already in use.; give a free"):
        meeting(port, told=True)


@pytest.mark.parametrize(
    "settings, init_method, told",
    [
        ({}, "tcp://localhost:5", False),
        ({"distributed_port": -1}, "tcp://localhost:5", False),
        ({"distributed_port": 5}, "tcp://localhost:5", True),
        ({"distributed_init_method": "tcp://localhost:5"}, "tcp://localhost:5", True),
        ({}, "env://", True),
    ],
)
def test_who_has_set_the_port(settings, init_method, told, monkeypatch):
    monkeypatch.setattr(os, "environ", {**os.environ, "MASTER_ADDR": "localhost", "MASTER_PORT": "5"})
    cfg = settled(settings, Processes(2, init_method=init_method))
    assert cfg.distributed_training.distributed_init_method == f"mert-tcp://localhost:5{'?told=1' * told}"


PROCESS = """
    import logging, sys, torch
    logging.disable()
    from mert_fairseq.launch.rendezvous import keep_to_this_machine, listening_at_one_address
    method = f"tcp://localhost:{sys.argv[1]}"
    keep_to_this_machine(method)
    torch.distributed.init_process_group("gloo", listening_at_one_address(method, {}), rank=int(sys.argv[2]), world_size=2)
    total = torch.ones(1)
    torch.distributed.all_reduce(total)
    print(int(total), flush=True)
    sys.stdin.read()
"""


def test_processes_of_one_machine_listen_to_nobody_outside(port):
    command, pipes = [sys.executable, "-c", textwrap.dedent(PROCESS), str(port)], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [subprocess.Popen([*command, rank], text=True, env=environment, **pipes) for rank in "01"]
    try:
        assert [process.stdout.readline() for process in started] == ["2\n", "2\n"]
        sockets = listening([process.pid for process in started])
        assert port in {at for _, at in sockets} and len(sockets) > 1  # the store, and gloo
        assert {address for address, _ in sockets} <= LOOPBACK
    finally:
        for process in started:
            process.communicate("")
