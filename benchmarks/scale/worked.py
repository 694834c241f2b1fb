"""Measurements of workers on a shared store, with their page and chart."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import hardware
from hardware import Hardware
from simulated import Took

from mnist_bench.core.records import Record

_MANY_MACHINES = 1_000
_CALLS = 12
"""Calls of a trial to MLflow's server: create the run, log metrics, end it, check duplicates."""
_TRIAL_SECONDS = 60.0
"""Duration of a real trial: about 2,500 steps of the paper's network."""
_WHAT = """\
Workers pretend to train the trials of one study: they ask Optuna for one, record a run with a curve
of 20 evaluations and two files through MLflow's server, report 19 intermediate values, and say how
it ended, as `mnist-bench tune --storage` and `join` do. Nothing is trained, so the servers never
rest. Not included: the queries of a machine between trials (lost trials, enough trials) and the
metrics of a long training, one call every five seconds, so these figures are lower bounds.
Workers and servers share one machine: what servers on these cores can carry follows from the
processor seconds that a trial costs them, not from the trials per second alone."""


class Load(Record):
    """One measurement with some number of workers.

    Attributes:
        workers: Concurrent workers.
        took: One entry per trial.
        refused: Calls that failed and were repeated.
        seconds: From the start of the first trial to the end of the last.
        client_cpu_seconds: Of the workers.
        database_cpu_seconds: Of PostgreSQL.
        server_cpu_seconds: Of MLflow's server.
    """

    workers: int
    took: tuple[Took, ...]
    refused: int
    seconds: float
    client_cpu_seconds: float
    database_cpu_seconds: float
    server_cpu_seconds: float

    @property
    def trials_a_second(self) -> float:
        """Throughput of all workers."""
        return len(self.took) / self.seconds

    @property
    def servers_cpu_seconds(self) -> float:
        """Processor time per trial of PostgreSQL and MLflow's server."""
        return (self.database_cpu_seconds + self.server_cpu_seconds) / len(self.took)

    @property
    def cores_at_work(self) -> float:
        """Number of cores kept busy by workers and servers."""
        servers = self.database_cpu_seconds + self.server_cpu_seconds
        return (self.client_cpu_seconds + servers) / self.seconds

    @property
    def in_words(self) -> str:
        """One line for the terminal."""
        return (
            f"{self.workers} workers: {self.trials_a_second:.2f} trials a second, "
            f"{self.servers_cpu_seconds * 1_000:.0f} ms of the servers' processor each"
        )


class WorkersSession(Record):
    """All measurements.

    Attributes:
        command: Command line.
        date: In UTC.
        versions: By distribution name.
        server_processes: Number of processes of MLflow's server.
        loads: In order of measurement.
    """

    command: str
    date: str
    hardware: Hardware
    versions: dict[str, str]
    server_processes: int
    loads: tuple[Load, ...]

    @property
    def counts(self) -> list[int]:
        """Numbers of workers."""
        return sorted({each.workers for each in self.loads})

    def of(self, workers: int, value: Callable[[Load], float]) -> list[float]:
        """A value of each measurement with some number of workers."""
        return [value(each) for each in self.loads if each.workers == workers]

    def median(self, workers: int, value: Callable[[Load], float]) -> float:
        """Median of a value over the measurements with some number of workers."""
        return statistics.median(self.of(workers, value))


def page(session: WorkersSession) -> str:
    """The page in Markdown."""
    blocks = [
        "# Load that shared servers carry",
        _WHAT,
        _environment(session),
        f"Made by `{session.command}` on {session.date}.",
        "\n".join(_table(session)),
        "![Trials a second by the number of workers](workers.png)",
        "\n\n".join((*_conclusions(session), _refusals(session))),
    ]
    return "\n\n".join(blocks) + "\n"


def _environment(session: WorkersSession) -> str:
    versions = hardware.in_words(session.versions)
    return (
        f"Machine: {session.hardware.sentences} Versions: {versions}. "
        f"MLflow's server has {session.server_processes} processes."
    )


def _table(session: WorkersSession) -> Iterator[str]:
    yield (
        "| workers | n | trials a second, median (range) | ask, ms | report, ms | tell, ms "
        "| record, ms | PostgreSQL, CPU ms a trial | MLflow's server | workers themselves |"
    )
    yield "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for workers in session.counts:
        rates = session.of(workers, lambda load: load.trials_a_second)
        cells = (
            f"{workers}",
            f"{len(rates)}",
            f"{statistics.median(rates):.2f} ({min(rates):.2f} to {max(rates):.2f})",
            *(_call(session, workers, name) for name in ("ask", "report", "tell", "record")),
            _each(session, workers, lambda load: load.database_cpu_seconds),
            _each(session, workers, lambda load: load.server_cpu_seconds),
            _each(session, workers, lambda load: load.client_cpu_seconds),
        )
        yield f"| {' | '.join(cells)} |"


def _call(session: WorkersSession, workers: int, name: str) -> str:
    """Median milliseconds of a call over all trials."""
    took = [getattr(t, name) for each in session.loads if each.workers == workers
            for t in each.took]  # fmt: skip
    return f"{statistics.median(took) * 1_000:,.0f}"


def _each(session: WorkersSession, workers: int, value: Callable[[Load], float]) -> str:
    """Median milliseconds per trial."""
    return f"{session.median(workers, lambda load: value(load) / len(load.took)) * 1_000:,.0f}"


def _conclusions(session: WorkersSession) -> Iterator[str]:
    first, *others = session.counts
    alone = session.median(first, lambda load: load.trials_a_second)
    best = max(session.counts, key=lambda n: session.median(n, lambda load: load.trials_a_second))
    most = session.median(best, lambda load: load.trials_a_second)
    yield (
        f"**Where it bends**: {first} worker makes {alone:.2f} trials a second; {best} make "
        f"{most:.2f}, {most / alone:.1f} times as many, and " + _beyond(session, best, others)
    )
    cost = session.median(session.counts[-1], lambda load: load.servers_cpu_seconds)
    rate = _MANY_MACHINES / _TRIAL_SECONDS
    yield (
        f"**{_MANY_MACHINES:,} machines, on paper**: with trials of {_TRIAL_SECONDS:g} s they end "
        f"{rate:.1f} a second. At {cost * 1_000:.0f} ms of processor a trial, as the servers took "
        f"with {session.counts[-1]} workers, that is {rate * cost:.1f} cores of this kind at least "
        f"for PostgreSQL and MLflow's server; with trials of ten minutes, {rate * cost / 10:.1f}. "
        "Each machine holds a connection to PostgreSQL for each plan or study that it has opened, "
        "and one for its heartbeat, and the usual limit is 100: beyond some tens of machines "
        "`max_connections` has to grow, and beyond some hundreds a pooler belongs in front, in its "
        "session mode."
    )


def _refusals(session: WorkersSession) -> str:
    refused = sum(load.refused for load in session.loads)
    trials = sum(len(load.took) for load in session.loads)
    return (
        f"**Calls that were not answered**, and were made again, as the suite does: {refused} in "
        f"{trials:,} trials of some {_CALLS} calls to MLflow's server each."
    )


def _beyond(session: WorkersSession, best: int, others: Sequence[int]) -> str:
    more = [count for count in others if count > best]
    if not more:
        return "no number that was tried makes fewer."
    least = session.median(more[-1], lambda load: load.trials_a_second)
    busy = session.median(best, lambda load: load.cores_at_work)
    return f"{more[-1]} make {least:.2f}. At {best} workers {busy:.1f} cores are at work already."


def draw(session: WorkersSession, file: Path) -> None:
    """Draw trials per second by the number of workers, with ideal scaling for comparison."""
    from matplotlib.figure import Figure

    counts = session.counts
    rates = [session.median(count, lambda load: load.trials_a_second) for count in counts]
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for count in counts:
        each = session.of(count, lambda load: load.trials_a_second)
        axes.plot([count] * len(each), each, "o", color="tab:blue", alpha=0.4, markersize=4)
    axes.plot(counts, rates, "-", color="tab:blue", label="measured, median")
    ideal = [rates[0] * count / counts[0] for count in counts]
    axes.plot(counts, ideal, ":", color="gray", label="if each worker added as much as the first")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("workers at once")
    axes.set_ylabel("trials a second")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120, metadata={"Software": None})
