"""Where the processes of a run meet: a store that listens at the one address given, not at all of the machine's.

torch's own store listens on every interface, whatever host it is told, and whoever reaches it can talk to it. Here the first process
opens the socket itself, at the address of the host named, and torch's store is given that.
"""

import errno
import ipaddress
import logging
import os
import socket
from datetime import timedelta
from typing import Any, Iterator, Mapping, Tuple
from urllib.parse import parse_qs, urlsplit

from torch.distributed import Store, TCPStore
from torch.distributed.constants import default_pg_timeout
from torch.distributed.rendezvous import register_rendezvous_handler

from mert_fairseq.errors import MertError

logger = logging.getLogger(__name__)

SCHEME = "mert-tcp"
LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"


def listening_at_one_address(init_method: str, environ: Mapping[str, str], told: bool = False) -> str:
    """The way to meet for torch: tcp://HOST:PORT through this module, other ways as they are (torchrun has opened its store already).

    Args:
        told: the port is one that the user has set, whose fault it is where it is taken.
    """
    if init_method == "env://" and environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        host = environ["MASTER_ADDR"]
        init_method = f"tcp://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{environ['MASTER_PORT']}"
    if not init_method.startswith("tcp://"):
        return init_method
    return f"{SCHEME}{init_method[3:]}" + "?told=1" * told


def keep_to_this_machine(init_method: str) -> None:
    """Where all processes are on this machine, gloo's connections between them are not to be had from outside either."""
    host = urlsplit(init_method).hostname or ""
    if _is_loopback(host) and "lo" in (name for _, name in socket.if_nameindex()):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def meet(url: str, timeout: timedelta = default_pg_timeout, **options: Any) -> Iterator[Tuple[Store, int, int]]:
    """torch's protocol: yields the store, the rank and the number of processes, which it adds to the address itself."""
    place = urlsplit(url)
    query = {name: int(values[0]) for name, values in parse_qs(place.query).items()}
    if place.port is None or not place.hostname:
        raise MertError(f"distributed_training.distributed_init_method={place.netloc}: tcp://HOST:PORT needed")
    host, first = LOOPBACK if place.hostname == "localhost" else place.hostname, query["rank"] == 0
    listener = _listener(host, place.port, "told" in query).detach() if first else None
    store = TCPStore(host, place.port, query["world_size"], first, timeout, multi_tenant=True, master_listen_fd=listener)
    yield store, query["rank"], query["world_size"]


def _listener(host: str, port: int, told: bool) -> socket.socket:
    """Of `listen`. A port that nobody has set is no fault of the input: the same command takes another one."""
    try:
        return listen(host, port)
    except OSError as error:
        if not told:
            raise
        raise MertError(f"tcp://{host}:{port}: cannot be listened at ({error.strerror}); give a free port, with "
                        "distributed_training.distributed_port or where it was set, or leave it out") from None


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at the address of `host`, which must be one of this machine.

    Where a machine knows its own name as a loopback address only (Debian's /etc/hosts), others could not reach it there: it then
    listens at all addresses, and says so.

    Raises:
        MertError: the name is not known, or is of another machine.
        OSError: the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise MertError(f"tcp://{host}:{port}: no such host ({error.strerror}); set distributed_training.distributed_init_method") from None
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    if _is_loopback(address[0]) and not _is_loopback(host):
        logger.warning(f"{host} is {address[0]} to this machine, where others do not reach it: listening at all its addresses; "
                       f"name one with distributed_training.distributed_init_method=tcp://ADDRESS:{port}, or mend /etc/hosts")
        family, address = socket.AF_INET, (EVERYWHERE, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise MertError(f"tcp://{host}:{port}: {address[0]} is no address of this machine, where the first process runs; "
                            "set distributed_training.distributed_init_method=tcp://ADDRESS:PORT to one of its own") from None
        raise
    logger.info(f"the processes meet at {listener.getsockname()[0]}, port {port} ({host}); "
                "distributed_training.distributed_init_method=tcp://ADDRESS:PORT names another place")
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


register_rendezvous_handler(SCHEME, meet)
