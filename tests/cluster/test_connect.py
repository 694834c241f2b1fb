"""Addresses of clusters, and who may take part."""

from __future__ import annotations

import importlib.util

import factories
import pytest
from program import free_port, wait_until
from servers import dask_scheduler

from mnist_bench.cluster import connect
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_USAGE, BenchError
from mnist_bench.data.dataset import Source


@pytest.mark.parametrize(
    ("where", "workers"),
    [("local", 1), ("local:1", 1), ("local:3", 3), ("tcp://localhost:1", None), ("locally", None)],
)
def test_workers_of_a_local_cluster(where: str, workers: int | None) -> None:
    assert connect.local_workers(where) == workers


@pytest.mark.parametrize("where", ["local:", "local:0", "local:-1", "local:two", "local:1025"])
def test_a_wrong_number_of_local_workers_is_refused(where: str) -> None:
    with pytest.raises(BenchError, match=rf"^--cluster {where}: .* `local:N`") as raised:
        connect.check_where(where, insecure=False)
    assert raised.value.exit_status == EXIT_USAGE


@pytest.mark.parametrize(
    "address",
    [
        *("", "bench", "bench.example.org:8786", "http://localhost:8786", "ucx://localhost:8786"),
        *("tcp://localhost", "tcp://:8786", "tcp://localhost:port", "tcp://localhost:99999"),
        *("tcp://localhost:8786/path", "tls://user@localhost:8786", "tcp://[::1"),
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BenchError, match="is not the address of a Dask scheduler") as raised:
        connect.check_where(address, insecure=True)
    assert raised.value.exit_status == EXIT_USAGE


@pytest.mark.parametrize(
    ("address", "is_refused"),
    [
        ("tcp://localhost:8786", False),
        ("tcp://127.0.0.1:8786", False),
        ("tcp://127.8.0.1:8786", False),
        ("tcp://[::1]:8786", False),
        ("tls://bench.example.org:8786", False),
        ("tcp://bench.example.org:8786", True),
        ("tcp://localhost.example.org:8786", True),
        ("tcp://0.0.0.0:8786", True),
        ("tcp://192.168.0.5:8786", True),
    ],
)
def test_only_encrypted_addresses_leave_this_machine(address: str, *, is_refused: bool) -> None:
    connect.check_where(address, insecure=True)
    if not is_refused:
        connect.check_where(address, insecure=False)
        return
    with pytest.raises(BenchError, match=r"is not encrypted: .*--insecure-cluster") as raised:
        connect.check_where(address, insecure=False)
    assert raised.value.exit_status == EXIT_USAGE


def test_without_dask_the_extra_is_named(sample: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for where in ("local", "tcp://127.0.0.1:1"):
        with (
            pytest.raises(BenchError, match=r"pip install 'mnist-bench\[cluster\]'") as raised,
            connect.open_cluster(where, [sample]),
        ):
            pass
        assert raised.value.exit_status == EXIT_USAGE


def test_a_scheduler_that_does_not_answer(sample: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 0.2)
    address = f"tcp://127.0.0.1:{free_port()}"
    with (
        pytest.raises(BenchError, match=f"no Dask scheduler answers at {address}") as raised,
        connect.open_cluster(address, [sample]),
    ):
        pass
    assert raised.value.exit_status == EXIT_FAILURE


def test_tls_needs_certificates(sample: Source) -> None:
    with (
        pytest.raises(BenchError, match=r"needs certificates; set DASK_DISTRIBUTED__COMM__TLS__"),
        connect.open_cluster("tls://127.0.0.1:1", [sample]),
    ):
        pass


def test_other_versions_are_refused_with_both_named(
    sample: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dask_scheduler() as address:
        with connect.open_cluster(address, [sample]):
            pass
        versions = {"mnist-bench": "9.9", "tensorflow": "2.21.0", "distributed": "2026.8.0"}
        monkeypatch.setattr(connect, "version", versions.__getitem__)
        expected = r"is used by mnist-bench [\d.]+, TensorFlow .* and this is mnist-bench 9\.9, T"
        with (
            pytest.raises(BenchError, match=expected) as raised,
            connect.open_cluster(address, [sample]),
        ):
            pass
    assert raised.value.exit_status == EXIT_USAGE
    assert len(str(raised.value).splitlines()) == 1


def test_images_are_needed_while_their_leader_is_connected(sample: Source) -> None:
    with dask_scheduler() as address, connect.connected(address, insecure=False) as client:
        assert connect.needed_images(client) == []
        with connect.open_cluster(address, [sample]), connect.open_cluster(address, [sample]):
            assert (
                connect.needed_images(client) == [{"name": "mnist-5k", "digest": sample.digest}] * 2
            )
        wait_until(lambda: connect.needed_images(client) == [], 20)


def test_machines_without_the_images_are_unfit(sample: Source) -> None:
    other = factories.SOURCE.model_copy(update={"name": "mnist"})
    with connect.open_cluster("local:2", [sample]) as cluster:
        assert len(cluster.wait_for_workers(sample, pytest.fail)) == 2
        with pytest.raises(BenchError, match=r"no machine at local has .* mnist \(joined: 2\);"):
            cluster.wait_for_workers(other, pytest.fail)
