"""Answers of hostile servers: bounded in seconds and bytes, one error each."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import hostile_servers as hostile
import pytest
import requests
from hostile_servers import Respond, hostile_server, send

from mnist_bench.core import http, signals
from mnist_bench.core.errors import BenchError
from mnist_bench.tracking import mlflow_store, uri
from mnist_bench.tracking.mlflow_store import MlflowStore

EXPERIMENT = {"experiment": {"experiment_id": "1", "name": "e", "artifact_location": "file:///a",
                             "lifecycle_stage": "active"}}  # fmt: skip
ENDLESS = {
    "drip": hostile.drip,
    "drip of headers": hostile.drip_headers,
    "silence": hostile.be_silent,
    "flood": hostile.flood,
    "redirects": hostile.redirect,
    "zip bomb": lambda handler: send(
        handler, gzip.compress(bytes(80 * 2**20)), Content_Encoding="gzip"
    ),
}


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxies, and limits of a second."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for module, name in ((uri, "_CONNECT_SECONDS"), (mlflow_store, "_CALL_SECONDS")):
        monkeypatch.setattr(module, name, 1.0)
    yield
    signals.interrupted.clear()


@pytest.mark.parametrize("respond", ENDLESS.values(), ids=ENDLESS)
def test_check_of_a_server_that_never_ends(respond: Respond) -> None:
    with hostile_server(respond, healthy=False) as address, pytest.raises(BenchError) as caught:
        uri.check_uri(address, "mine")
    assert caught.value.message.startswith(f"no tracking server answers at {address} (")


@pytest.mark.parametrize("respond", ENDLESS.values(), ids=ENDLESS)
def test_store_of_a_server_that_never_ends(respond: Respond) -> None:
    with hostile_server(respond) as address, pytest.raises(BenchError) as caught:
        MlflowStore(address, "mine")
    assert caught.value.exit_status == 1
    assert f"MLflow at {address} failed while opening the store" in str(caught.value)


ANSWERS: dict[str, Any] = {
    "no JSON": b"<html>",
    "a list": b"[]",
    "a number": b"5",
    "nothing": b"",
    "no UTF-8": b"\xff\xfe",
    "a deep nest": b"[" * 200_000,
    "a deep object": b'{"experiment":' * 100_000,
    "many digits": b'{"experiment": ' + b"9" * 100_000 + b"}",
    "other types": b'{"experiment": {"experiment_id": [1], "name": {}}}',
    "other names": b'{"experiment": {"experiment_id": "../../x"}}',
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_store_of_a_server_with_an_odd_answer(answer: bytes) -> None:
    with hostile_server(lambda handler: send(handler, answer)) as address:
        try:
            store = MlflowStore(address, "mine", create=False)
            list(store.recorded_runs(""))
            store.unfinished()
        except BenchError as error:
            assert str(error).isprintable()  # noqa: PT017 - an odd answer may be an empty one


def test_pages_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with a token for the next one."""
    monkeypatch.setattr(mlflow_store, "_MAX_PAGES", 5)

    def respond(handler: Any) -> None:
        page = {"runs": [], "next_page_token": "again"}
        is_search = handler.path.endswith("runs/search")
        send(handler, json.dumps(page if is_search else EXPERIMENT).encode())

    with hostile_server(respond) as address:
        assert list(MlflowStore(address, "e").recorded_runs("")) == []


def test_signal_shortens_the_wait_for_a_hung_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_HURRIED_SECONDS", 0.1)
    with hostile_server(hostile.be_silent) as address:
        threading.Timer(0.3, signals.interrupted.set).start()
        with pytest.raises(http.AnswerError, match="took longer"):
            http.bounded(lambda: requests.get(address, timeout=300), address, 300)


def test_only_answers_of_the_asked_host_are_limited() -> None:
    """A notebook may read what it likes meanwhile."""
    large = bytes(20 * 2**20)
    with (
        hostile_server(lambda handler: send(handler, large)) as asked,
        hostile_server(lambda handler: send(handler, large)) as other,
    ):
        assert http.bounded(lambda: requests.get(other, timeout=9).content, asked, 60) == large
        with pytest.raises(http.AnswerError, match="larger than 12 MiB"):
            http.bounded(lambda: requests.get(asked, timeout=9).content, asked, 60)
        assert requests.get(asked, timeout=9).content == large
