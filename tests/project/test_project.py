"""The project's own files: what the pages promise, what the wheel holds."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder

from mnist_bench.scenarios import paper, scenario

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mnist_bench"
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox"


# What the pages promise


def commands_in(text: str, language: str) -> list[str]:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("end", ["mnist-bench run smoke", "tox"])
def test_readme_has_one_line_installation(end):
    lines = commands_in(README, "sh")
    assert sum(line.startswith("python3 -m venv") and line.endswith(end) for line in lines) == 1


def test_ci_runs_the_readme_line():
    between = re.search(
        r"<!-- test-command:begin -->(.*)<!-- test-command:end -->", README, flags=re.DOTALL
    )
    assert commands_in(between[1], "sh") == [TEST_COMMAND]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    extraction = re.search(r'^command="\$\((.*)\)"$', script, flags=re.MULTILINE)[1]
    bash = shutil.which("bash")
    if bash is None or sys.platform == "win32":
        pytest.skip("no bash")
    found = subprocess.run(
        [bash, "-c", extraction], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == TEST_COMMAND
    assert '\nbash -c "$command"\n' in script


def test_citation_names_the_suite_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["title"] == project["name"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    (reference,) = citation["references"]
    assert reference["title"] == paper.TITLE
    assert reference["year"] == paper.YEAR
    assert paper.AUTHOR.endswith(reference["authors"][0]["family-names"])


# What is installed


def shipped_beside_the_package() -> set[str]:
    folder = ROOT / "benchmarks"
    patterns = ("*.toml", "spaces/*.toml", "reference/*.json")
    paths = (path for pattern in patterns for path in folder.glob(pattern))
    return {path.relative_to(ROOT).as_posix() for path in paths}


def package_files() -> set[str]:
    files = (path for path in PACKAGE.rglob("*") if path.is_file())
    return {p.relative_to(ROOT).as_posix() for p in files if "__pycache__" not in p.parts}


def names_in_wheel(folder: Path, version: str) -> tuple[set[str], Path]:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=[version])
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist()), Path(wheel)


def test_every_packaged_scenario_is_valid():
    names = scenario.packaged_names()
    assert names == sorted(path.stem for path in (ROOT / "benchmarks").glob("*.toml"))
    assert {"table-1", "smoke"} <= set(names)
    for name in names:
        scenario.read(scenario.find(name))


def test_the_installed_reference_is_current():
    name = "reference/table-1.json"
    installed = json.loads((scenario.packaged_folder() / name).read_text(encoding="utf-8"))
    assert installed == json.loads((ROOT / "benchmarks" / name).read_text(encoding="utf-8"))


def test_the_wheel_contains_all_data_files(tmp_path):
    names, _ = names_in_wheel(tmp_path, "standard")
    beside = {f"mnist_bench/{path}" for path in shipped_beside_the_package()}
    assert "mnist_bench/benchmarks/reference/table-1.json" in beside
    assert "mnist_bench/py.typed" in package_files()
    assert any(
        path.startswith("mnist_bench/reporting/") and not path.endswith(".py")
        for path in package_files()
    )
    assert package_files() | beside == {n for n in names if ".dist-info/" not in n}


def test_an_editable_install_uses_the_repository(tmp_path):
    names, wheel = names_in_wheel(tmp_path, "editable")
    (pointer,) = (name for name in names if name.endswith(".pth"))
    with zipfile.ZipFile(wheel) as archive:
        assert Path(archive.read(pointer).decode().strip()) == ROOT
