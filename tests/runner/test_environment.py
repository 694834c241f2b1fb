"""Environment variables that change how the worker computes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_bench.runner import environment, process
from mnist_bench.scenarios.execution import Execution


@pytest.mark.parametrize(
    "name",
    [
        *("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS", "TF_SET_ONEDNN_FPMATH_MODE"),
        *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_VERBOSE", "TF_DETERMINISTIC_OPS"),
        *("OMP_PROC_BIND", "KMP_BLOCKTIME", "MKL_CBWR", "TF2_BEHAVIOR"),
        *("MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"),
        *("TF_CPP_MAX_VLOG_LEVEL", "TF_FUNCTION_JIT_COMPILE_DEFAULT", "TF_DATA_EXPERIMENT_OPT_IN"),
        *("TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_LEVEL", "TF_RUN_HANDLER_USE_SUB_THREAD_POOL"),
        *(
            "PYTHONMALLOC",
            "TF_USE_DEEP_CONV2D",
            "TF_CPU_ALLOCATOR_USE_BFC",
            "TF_MKL_ALLOC_MAX_BYTES",
        ),
    ],
)
def test_what_changes_the_computation_is_recorded(name: str) -> None:
    found = environment.read({name: "2", "HOME": "/home/x", "PATH": "/bin"}, "cpu")
    assert (found.recorded, found.ignored) == (((name, "2"),), ())


@pytest.mark.parametrize(
    "name",
    [
        *("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "MKL_NUM_THREADS"),
        *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_DYNAMIC"),
        *("MKL_DOMAIN_NUM_THREADS", "MKL_DYNAMIC"),
        *(
            "TF_OVERRIDE_GLOBAL_THREADPOOL",
            "KMP_ALL_THREADS",
            "OMP_MAX_ACTIVE_LEVELS",
        ),
    ],
)
def test_what_contradicts_the_threads_is_ignored(name: str) -> None:
    found = environment.read({name: "2"}, "cpu")
    assert (found.recorded, found.ignored) == ((), (name,))


@pytest.mark.parametrize(
    "name",
    [
        # Terraform's, some with secrets; what chooses or describes a device; what only logs.
        *("TF_VAR_password", "TF_TOKEN_app_terraform_io", "TF_CLI_CONFIG_FILE", "TF_HTTP_PASSWORD"),
        *("TF_LOG", "TF_DATA_DIR", "TF_INPUT", "TF_WORKSPACE", "TF_PLUGIN_CACHE_DIR", "TF_CONFIG"),
        *("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_VERSION", "NVIDIA_VISIBLE_DEVICES"),
        *("TF_CPP_MIN_LOG_LEVEL", "TF_USE_LEGACY_KERAS", "MKLROOT", "PYTHONPATH", "LANG"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_other_variables_are_left_alone(name: str, device: environment.Device) -> None:
    assert environment.read({name: "2"}, device) == environment.Environment()
    assert environment.for_worker({name: "2"}, Execution(threads=1))[name] == "2"


@pytest.mark.parametrize(
    "name",
    ["NVIDIA_TF32_OVERRIDE", "TF_CUDNN_DETERMINISTIC", "TF_GPU_ALLOCATOR", "CUDA_LAUNCH_BLOCKING",
     "TF_FORCE_GPU_ALLOW_GROWTH", "CUBLAS_WORKSPACE_CONFIG"],
)  # fmt: skip
def test_what_concerns_gpus_is_recorded_with_them_only(name: str) -> None:
    assert environment.read({name: "1"}, "gpu").recorded == ((name, "1"),)
    assert environment.read({name: "1"}, "cpu") == environment.Environment()


@pytest.mark.parametrize("name", ["OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "BLIS_ARCH"])
def test_what_concerns_numpy_is_recorded_with_models_of_scikit_learn_only(name: str) -> None:
    assert environment.read({name: "1"}, "cpu", with_numpy=True).recorded == ((name, "1"),)
    assert environment.read({name: "1"}, "cpu") == environment.Environment()
    execution = Execution(threads=1)
    assert environment.for_worker({name: "1"}, execution) == {name: "1"}
    assert environment.for_worker({name: "1"}, execution, with_numpy=True) == {}
    threads = {"OPENBLAS_NUM_THREADS": "1", "VECLIB_MAXIMUM_THREADS": "1"}
    assert environment.read(threads, "cpu", with_numpy=True).ignored == tuple(threads)


@pytest.mark.parametrize("value", ["1", "", " "])
def test_what_the_worker_sets_anyway_makes_no_difference(value: str) -> None:
    assert environment.read({"TF_ENABLE_ONEDNN_OPTS": value}, "cpu").recorded == ()


def test_what_imports_of_libraries_set_is_not_recorded() -> None:
    script = """
import os
before = dict(os.environ)
import tensorflow, sklearn.svm
from mnist_bench.runner import environment
changed = {name: value for name, value in os.environ.items() if before.get(name) != value}
print(sorted(changed), environment.read(changed, "cpu"))
"""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TF")}
    ended = subprocess.run(
        [sys.executable, "-c", script], env=own, capture_output=True, text=True, check=True
    )
    assert "TF2_BEHAVIOR" in ended.stdout
    assert ended.stdout.rstrip().endswith("] Environment(recorded=(), ignored=())")


def test_a_worker_gets_what_is_recorded_and_nothing_else() -> None:
    inherited = {"TF_XLA_FLAGS": "--one", "OMP_NUM_THREADS": "7", "PATH": "/bin"}
    execution = Execution(threads=1, environment=(("TF_ENABLE_ONEDNN_OPTS", "0"),))
    assert environment.for_worker(inherited, execution) == {
        "PATH": "/bin",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }


def test_a_job_of_another_machine_sets_no_other_variable() -> None:
    hostile = (("PATH", "/tmp/x"), ("PYTHONPATH", "/tmp/x"), ("TF_XLA_FLAGS", "--one"))
    found = environment.for_worker({"PATH": "/bin"}, Execution(threads=1, environment=hostile))
    assert found == {"PATH": "/bin", "TF_XLA_FLAGS": "--one"}


def test_the_text_has_no_home_folder_and_fits_into_a_bundle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/jane"))
    values = (
        ("XLA_FLAGS", "--xla_dump_to=/home/jane/x"),
        ("TF_XLA_FLAGS", "a\n\x1b[1mb" + "c" * 900),
    )
    one = environment.as_text(values)
    other = environment.as_text((values[0], ("TF_XLA_FLAGS", values[1][1] + "d")))
    assert one is not None
    assert one.startswith("XLA_FLAGS=--xla_dump_to=~/x TF_XLA_FLAGS=a [1mb")
    assert len(one) < 500
    assert one.isprintable()
    assert one != other  # although both are cut
    assert environment.as_text(()) is None


def test_the_lines_name_what_is_recorded_and_what_is_ignored() -> None:
    found = environment.read({"TF_ENABLE_ONEDNN_OPTS": "0", "OMP_NUM_THREADS": "1"}, "cpu")
    assert found.lines == (
        "TF_ENABLE_ONEDNN_OPTS=0: set here, recorded with the runs, which are kept apart",
        "OMP_NUM_THREADS: ignored, --threads sets the threads",
    )
    assert environment.Environment().lines == ()


def test_the_process_of_the_worker_has_that_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = "import os, sys; sys.stdin.readline(); print('{\"gpus\": []}')\n"
    code += "sys.exit('OMP_NUM_THREADS' in os.environ or os.environ['TF_XLA_FLAGS'] != '--one')"
    monkeypatch.setattr(process, "PROBE", (sys.executable, "-c", code))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("TF_XLA_FLAGS", "--other")
    execution = Execution(threads=1, environment=(("TF_XLA_FLAGS", "--one"),))
    assert process.probe(execution).gpus == ()
