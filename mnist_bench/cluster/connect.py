"""Connections to a Dask cluster: addresses, certificates, and who may take part."""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import logging
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mnist_bench.cluster.tasks import PLUGIN
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.limits import MAX_THREADS
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import system
from mnist_bench.measurement.machine import Machine, tensorflow_version

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
"""The cluster of this machine alone; `local:N` trains N at a time."""
CONNECT_SECONDS = 10.0
"""How long a scheduler may take to answer."""
_POLL_SECONDS = 0.5
_METADATA = "mnist-bench"
_TLS_VARIABLES = "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__CLIENT__CERT and …__WORKER__CERT"

# Nothing of Dask's may run beside a training that does not have to.
_SETTINGS = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.http.routes": [],
    "distributed.scheduler.http.routes": [],
    "distributed.admin.tick.interval": "30s",
    "distributed.admin.tick.cycle": "30s",
    "distributed.admin.system-monitor.interval": "30s",
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.diagnostics.nvml": False,
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS:g}s",
    # Of the scheduler in this process: its workers can't vanish without it, and after the machine
    # has slept it would take all of them for vanished.
    "distributed.scheduler.worker-ttl": None,
}


@dataclass
class Cluster:
    """A cluster that this process leads trainings on.

    Attributes:
        address: Of the scheduler, or `local`.
        client: Dask's client.
        receivers: What gets the events of a training, by its Dask key. Each also gets Dask's event
            of a worker that is gone.
    """

    address: str
    client: Client
    receivers: dict[str, Callable[[dict[str, Any]], None]] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        """Topic of the events of this leader's trainings; Dask forgets it with the client."""
        return str(self.client.id)

    @property
    def nobody(self) -> str:
        """The line for a cluster that has no workers."""
        return (
            f"nobody has joined {self.address} yet: waiting for `mnist-bench join "
            f"{self.address}`; Ctrl-C stops"
        )

    def workers(self, digest: str | None = None) -> tuple[Machine, ...]:
        """The joined machines, one entry per worker.

        Args:
            digest: Only those that have these images.

        Raises:
            BenchError: The scheduler does not answer.
        """
        with answering(self.address):
            joined = self.client.scheduler_info(n_workers=-1).get("workers", {}).values()
        return tuple(
            Machine.model_validate(worker[PLUGIN]["machine"])
            for worker in joined
            if PLUGIN in worker and (digest is None or digest in worker[PLUGIN]["images"])
        )

    def wait_for_workers(self, source: Source, log: Callable[[str], None]) -> tuple[Machine, ...]:
        """Wait until a machine has joined; returns those that can train on the images.

        Args:
            log: Gets a line if there is none yet.

        Raises:
            BenchError: Machines have joined, but none has the images.
        """
        if not self.workers():
            log(self.nobody)
        while not (joined := self.workers()):
            time.sleep(_POLL_SECONDS)
        if fit := self.workers(source.digest):
            return fit
        raise BenchError(
            f"no machine at {self.address} has the images of {source.name} (joined: {len(joined)})",
            "start `mnist-bench join` there again with --data DIR, or choose another --dataset",
        )

    def receive(self, event: tuple[float, Any]) -> None:
        """Pass on an event to the trainings that it is about."""
        _, fields = event
        if fields.get("action") == "remove-worker":
            for receive in set(self.receivers.values()):
                receive(fields)
        elif known := self.receivers.get(fields.get("key", "")):
            known(fields)


def local_workers(where: str) -> int | None:
    """How many trainings `local` or `local:N` runs at a time; None for an address.

    Raises:
        BenchError: N is no number of workers.
    """
    name, _, number = where.partition(":")
    if name != LOCAL:
        return None
    if where == LOCAL:
        return 1
    if not number.isdecimal() or not 1 <= int(number) <= MAX_THREADS:
        raise BenchError(
            f"--cluster {where}: {number!r} is not a number of trainings at a time",
            f"give `local:N` with N from 1 to {MAX_THREADS:,}",
        )
    return int(number)


def check_where(where: str, *, insecure: bool) -> None:
    """Check the value of `--cluster` without connecting.

    Raises:
        BenchError: It names no cluster, or everybody in the network could run code there.
    """
    if local_workers(where) is None:
        check_address(where, insecure=insecure)


def check_address(address: str, *, insecure: bool) -> None:
    """Check the address of a scheduler without connecting.

    Raises:
        BenchError: It is no address, or everybody in the network could run code there.
    """
    host = ""
    with contextlib.suppress(ValueError):
        parts = urlsplit(address)
        if parts.port and not (parts.path or parts.query or parts.username):
            host = parts.hostname or ""
    if not host or parts.scheme not in {"tcp", "tls"}:
        raise BenchError(
            f"{address!r} is not the address of a Dask scheduler",
            "give `local`, `local:N`, tls://HOST:PORT or tcp://HOST:PORT",
        )
    if parts.scheme == "tcp" and not insecure and not _is_loopback(host):
        raise BenchError(
            f"{address} is not encrypted: whoever reaches it can run programs on every machine "
            "of the cluster",
            "use a tls:// address, as docs/many-machines.md shows, or --insecure-cluster in a "
            "network that you trust",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def open_cluster(
    where: str, sources: Sequence[Source], *, insecure: bool = False, exclusive: bool = True
) -> Iterator[Cluster]:
    """Connect as a leader; the end of the context cancels what is left of its trainings.

    Args:
        where: `local`, `local:N`, or the address of a scheduler.
        sources: The images of the trainings.
        insecure: Whether an address without encryption may be used in a network.
        exclusive: Whether other benchmarks of this user are locked out; of `local` only.

    Raises:
        BenchError: Dask is missing, the address can't be used, nobody answers there, or the
            cluster is used by other versions.
    """
    workers = local_workers(where)
    if workers:
        require_dask()
        connection = _local_cluster(workers, sources, exclusive=exclusive)
    else:
        connection = connected(where, insecure=insecure)
    with connection as client:
        images = [{"name": each.name, "digest": each.digest} for each in sources]
        client.set_metadata([_METADATA, "leaders", client.id], images)
        cluster = Cluster(LOCAL if workers else where, client)
        for topic in (cluster.topic, "all"):
            client.subscribe_topic(topic, cluster.receive)
        yield cluster


def require_dask() -> None:
    """Load Dask's settings for measuring, and silence it: what matters is said in one line.

    Raises:
        BenchError: The extra is not installed.
    """
    if importlib.util.find_spec("distributed") is None:
        raise BenchError(
            "a cluster of machines needs Dask", "install it: pip install 'mnist-bench[cluster]'"
        )
    import dask
    import distributed  # noqa: F401  # makes the loggers

    dask.config.set(_SETTINGS)
    for name in ("distributed", "tornado", "asyncio"):
        for each in (name, *(n for n in logging.root.manager.loggerDict if n.startswith(name))):
            logging.getLogger(each).setLevel(logging.CRITICAL + 1)


@contextlib.contextmanager
def _local_cluster(workers: int, sources: Sequence[Source], *, exclusive: bool) -> Iterator[Client]:
    from distributed import Client, Scheduler, SpecCluster, Worker

    from mnist_bench.cluster.worker_setup import Site, worker_options

    site = Site(
        sources={source.digest: source for source in sources},
        exclusive=exclusive and workers == 1,
        log=lambda _line: None,  # the leader shows the same
        threads=max(1, system.usable_threads() // workers),
    )
    # Not LocalCluster, whose workers would share one plugin and serve HTTP to the network.
    scheduler = {"protocol": "inproc://", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    with (
        SpecCluster(
            workers={n: {"cls": Worker, "options": worker_options(site)} for n in range(workers)},
            scheduler={"cls": Scheduler, "options": scheduler},
            silence_logs=False,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextlib.contextmanager
def connected(address: str, *, insecure: bool) -> Iterator[Client]:
    """A client of a scheduler whose participants have the same versions as this one.

    Raises:
        BenchError: Dask is missing, the address can't be used, nobody answers there, or the
            cluster is used by other versions.
    """
    check_address(address, insecure=insecure)
    require_dask()
    from distributed import Client, Security

    if address.startswith("tls:"):
        _check_certificates(address)
    with answering(address):
        client = Client(address, security=Security(), timeout=CONNECT_SECONDS, set_as_default=False)
    with client:
        with answering(address):
            _check_versions(address, client)
        yield client


def _check_certificates(address: str) -> None:
    """Check that the certificates for a tls:// address can be read.

    Raises:
        BenchError: They can't.
    """
    from distributed import Security

    problem = ""
    try:
        roles = [Security().get_connection_args(role) for role in ("client", "worker")]
        if not all(role["ssl_context"] for role in roles):
            problem = f"{address} needs certificates"
    except OSError as error:
        problem = f"the certificates for {address} can't be read: {error}"
    if problem:
        raise BenchError(problem, f"set {_TLS_VARIABLES}, as docs/many-machines.md shows")


@contextlib.contextmanager
def answering(address: str) -> Iterator[None]:
    """Raise errors of the connection as a BenchError."""
    try:
        yield
    except OSError as error:  # TimeoutError is one
        causes: list[BaseException] = []
        cause: BaseException | None = error
        while cause is not None and cause not in causes:
            causes.append(cause)
            cause = cause.__cause__ or cause.__context__
        message, hint = (
            f"no Dask scheduler answers at {address}",
            "start it there with `dask scheduler`, or correct the address",
        )
        # Dask keeps only the text of some errors.
        if address.startswith("tls:") and any("SSL" in repr(each) for each in causes):
            message, hint = (
                f"{address} and this machine do not accept each other's certificates",
                "both need certificates of the same authority, as docs/many-machines.md shows",
            )
        raise BenchError(message, hint, exit_status=EXIT_FAILURE) from error


def _check_versions(address: str, client: Client) -> None:
    """Note this participant's versions if it is the first, else compare them.

    Raises:
        BenchError: The others have other versions.
    """
    own = {
        "mnist-bench": version("mnist-bench"),
        "TensorFlow": tensorflow_version(),
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "Dask": version("distributed"),
    }
    keys = [_METADATA, "versions"]
    if client.get_metadata(keys, None) is None:
        client.set_metadata(keys, own)  # read again: two may come first
    theirs = client.get_metadata(keys, own)
    if theirs != own:
        used, here = (
            ", ".join(f"{name} {number}" for name, number in versions.items())
            for versions in (theirs, own)
        )
        raise BenchError(
            f"{address} is used by {used}, and this is {here}",
            "install the same versions everywhere and restart the scheduler",
        )


def needed_images(client: Client) -> list[dict[str, str]]:
    """Name and digest of the images that the leaders of a cluster train on now."""
    leaders: dict[str, list[dict[str, str]]] = client.get_metadata([_METADATA, "leaders"], {})
    needed = []
    for leader, images in leaders.items():
        # The scheduler notes when a client comes and goes.
        events = [event for _, event in client.get_events(leader) or ()]
        if events and all(event.get("action") != "remove-client" for event in events):
            needed += images
    return needed
