"""Environment variables that change how a worker computes: passed on and recorded, or removed.

A worker gets this process's environment without all of these variables, and then those of its
`Execution`, so that what is recorded is what held. Which variables there are: the names in
TensorFlow 2.21's libraries, and the manuals of oneDNN, OpenMP, MKL, OpenBLAS, NumPy and glibc.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mnist_bench.core.escaping import one_line
from mnist_bench.core.limits import DeviceChoice
from mnist_bench.scenarios.execution import Device, Execution

# Not every TF_ name: Terraform has some too, of which TF_VAR_* and TF_TOKEN_* may be secrets.
_COMPUTES = re.compile(
    r"(TF2_BEHAVIOR|XLA_|ONEDNN_|DNNL_|OMP_|KMP_|GOMP_|MKL_"
    r"|EIGEN_|MALLOC_|TCMALLOC_|MIMALLOC_|JE_MALLOC|GLIBC_TUNABLES$|LD_PRELOAD$"
    r"|DYLD_INSERT_LIBRARIES$|PYTHONMALLOC|PYTHONDEVMODE$|PYTHONTRACEMALLOC$"
    r"|TF_(AUTO|BFC|CONV2D|COST_|CPU_|CPP_MAX_VLOG|CPP_VMODULE|DATA_EXPERIMENT|DEBUG|DETERMINISTIC"
    r"|DEVICE_|DISABLE|DUMP|EAGER|ENABLE|FORCE_|FP16|FUNCTION|GRAPH_|JIT|LOG_XLA|MATMUL|MKL|NUM_"
    r"|ONEDNN|OPTIONALS_IN|OVERRIDE|PER_DEVICE|PFLR|PLUGGABLE|RUN_HANDLER|SET_ONEDNN|SYNC_ON|USE_"
    r"|XLA))"
)
_COMPUTES_ON_GPU = re.compile(
    r"TF_(CUDNN|CUBLAS|CUDA|CUFFT|GPU|FORCE_GPU|FORCE_UNIFIED|USE_CU|DEBUG_CUDNN|ENABLE_GPU|MIN_GPU)"
    r"|NVIDIA_TF32_OVERRIDE$|CUDNN_|CUBLAS|NCCL_"
    r"|CUDA_(LAUNCH|MODULE|DISABLE|FORCE|AUTO_BOOST|DEVICE_MAX|MANAGED)"
)
_COMPUTES_IN_NUMPY = re.compile("OPENBLAS_|GOTO_|BLIS_|VECLIB_|NUMEXPR_|NPY_")
"""NumPy's and SciPy's: only models of scikit-learn compute with them."""
_THREADS = re.compile(
    r"\w+_(NUM_THREADS|MAX(IMUM)?_THREADS|ALL_THREADS|THREAD_LIMIT|DYNAMIC|MAX_ACTIVE_LEVELS)$"
    r"|TF_NUM_IN\w+_THREADS$|TF_OVERRIDE_GLOBAL_THREADPOOL$"
)
"""What contradicts the number of threads that is recorded."""
_WITHOUT_EFFECT = re.compile(r"TF_USE_LEGACY_KERAS$|TF_USE_MODULAR_FILESYSTEM$")
"""The worker sets the first one itself."""
_WITHOUT_EFFECT_AT = {
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF2_BEHAVIOR": "1",
    "KMP_DUPLICATE_LIB_OK": "True",
    "KMP_INIT_AT_FORK": "FALSE",
}
"""Values that the worker sets, or that TensorFlow and scikit-learn set in a notebook's process."""
_MAX_TEXT = 400


@dataclass(frozen=True)
class Environment:
    """The variables that change how a worker computes.

    Attributes:
        recorded: Names and values, sorted.
        ignored: Names of those that would contradict the number of threads, sorted.
    """

    recorded: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What a user should know of them."""
        return tuple(self._lines())

    def _lines(self) -> Iterator[str]:
        if self.recorded:
            text = as_text(self.recorded)
            yield f"{text}: set here, recorded with the runs, which are kept apart"
        if self.ignored:
            yield f"{', '.join(self.ignored)}: ignored, --threads sets the threads"


def read(variables: Mapping[str, str], device: Device, *, with_numpy: bool = False) -> Environment:
    """The variables that have an effect on a device, from an environment.

    Args:
        with_numpy: Whether the model is one of scikit-learn.
    """
    known = {
        name: value
        for name, value in sorted(variables.items())
        if _computes(name, device, with_numpy=with_numpy)
        if value.strip() not in {"", _WITHOUT_EFFECT_AT.get(name)}
    }
    return Environment(
        tuple(each for each in known.items() if not _THREADS.match(each[0])),
        tuple(name for name in known if _THREADS.match(name)),
    )


def of_process(device: DeviceChoice = "cpu", *, with_numpy: bool = False) -> Environment:
    """The variables of this process that have an effect on the device, which may be a GPU."""
    return read(os.environ, "cpu" if device == "cpu" else "gpu", with_numpy=with_numpy)


def for_worker(
    variables: Mapping[str, str], execution: Execution, *, with_numpy: bool = False
) -> dict[str, str]:
    """The environment of a worker, from that of this process."""

    def computes(name: str) -> bool:
        return _computes(name, execution.device, with_numpy=with_numpy)

    inherited = {name: value for name, value in variables.items() if not computes(name)}
    # A cluster's leader names these, and nothing else may be set on a machine that joined.
    return inherited | {name: value for name, value in execution.environment if computes(name)}


def as_text(variables: tuple[tuple[str, str], ...]) -> str | None:
    """`NAME=VALUE` of each, as it is recorded and shown: without the home folder; None for none."""
    text = one_line(" ".join(f"{name}={value}" for name, value in variables))
    home = str(Path.home())
    if len(home) > 1:  # "/" contains no user name
        text = text.replace(home, "~")
    if len(text) > _MAX_TEXT:
        text = f"{text[:_MAX_TEXT]}… {hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return text or None


def _computes(name: str, device: Device, *, with_numpy: bool) -> bool:
    if _WITHOUT_EFFECT.match(name):
        return False
    if _COMPUTES_ON_GPU.match(name):
        return device == "gpu"
    if _COMPUTES_IN_NUMPY.match(name):
        return with_numpy
    return _COMPUTES.match(name) is not None
