"""tox reads this: environments with `runner = shared` live in one virtual environment.

TensorFlow and MLflow fill 1.5 GB, so the environments that differ only in their commands share
one folder (`env_dir`). tox would empty it each time that another environment's name comes along;
here it looks at the Python and at the requirements alone.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from tox.plugin import impl
from tox.tox_env.api import ToxEnv
from tox.tox_env.info import Info
from tox.tox_env.python.virtual_env.runner import VirtualEnvRunner
from tox.tox_env.register import ToxEnvRegister


class SharedInfo(Info):
    """What is known of a folder, whoever filled it."""

    def compare(
        self, value: Any, section: str, sub_section: str | None = None
    ) -> AbstractContextManager[tuple[bool, Any | None]]:
        """Compare as tox does, with one name for all who share the folder."""
        if section == ToxEnv.__name__:
            value = {**value, "name": "shared"}
        return super().compare(value, section, sub_section)


class SharedRunner(VirtualEnvRunner):
    """A virtual environment that several tox environments use, one after the other."""

    @staticmethod
    def id() -> str:
        """The runner's name in tox.ini."""
        return "shared"

    @property
    def cache(self) -> Info:
        """What is known of the folder."""
        return SharedInfo(self.env_dir)


@impl
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Make the runner known to tox."""
    register.add_run_env(SharedRunner)
