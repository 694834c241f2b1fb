"""Documentation that can't lie: what it shows of the program is the program's own output."""

from __future__ import annotations

import inspect
import json
import os
import re
from pathlib import Path
from typing import Any

import click
import pytest

from mnist_bench.claims import declared
from mnist_bench.claims.parts import ClaimInput, inputs_of
from mnist_bench.cli.main import cli
from mnist_bench.reporting.claims import found
from mnist_bench.results.document import Document
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS as MODELS
from mnist_bench.scenarios.hyperparameters import ModelHyperparameters

ROOT = Path(__file__).parents[2]
HYPERPARAMETERS = ROOT / "docs" / "hyperparameters.md"
CLAIMS = ROOT / "docs" / "claims.md"
PAPER = ROOT / "docs" / "paper.md"
CLAIMS_HEAD = """# The paper's claims

What the paper says, in words of ours, and what decides whether it holds on your machine.
`mnist-bench run claims` measures what fits into its `--budget`, 45 minutes where none is given, and
uses again what is recorded already; `mnist-bench run claim-3` measures for one claim alone. The
report then has a section on them. [paper.md](paper.md) tells what the paper did.

A claim holds where all that decides it does, does not hold where one of it does not, and is else
not decided here. Of runs that were carried out in several ways those count that were in float32, on
the processor, with the number of threads that most of them had; of trainings for claims 2 to 4,
that most independent ones had. What came of it on one machine tells
[paper.md](paper.md#what-came-of-it). What decides, and from which threshold on, was declared
in `mnist_bench/claims/claims.toml` before it was measured, and this page is generated from there:
`MNIST_BENCH_RENEW_GOLDEN=1 pytest tests/test_docs.py` renews it.
"""


HYPERPARAMETERS_HEAD = """# Hyperparameters

What `mnist-bench run --set NAME=VALUE` and the table `[hyperparameters]` of a scenario know; which
of it, the scenario's `model` says. The table `[parameters]` of a search space knows that of
`paper-cnn`. Generated: `MNIST_BENCH_RENEW_GOLDEN=1 pytest tests/test_docs.py` renews it.
"""
TABLE_HEAD = """
| Name | Default | May be | What it is |
| --- | ---: | --- | --- |
"""


def hyperparameters_page() -> str:
    return HYPERPARAMETERS_HEAD + "".join(
        f"\n## {model}\n\n{(kind.__doc__ or '').splitlines()[0]}\n{TABLE_HEAD}{table_of(kind)}"
        for model, kind in MODELS.items()
    )


def table_of(kind: type[ModelHyperparameters]) -> str:
    meanings = meanings_of(kind)
    return "".join(
        f"| `{name}` | {json.dumps(field['default'])} | {may_be(field)} | {meanings[name]} |\n"
        for name, field in kind.model_json_schema()["properties"].items()
    )


def meanings_of(kind: type[ModelHyperparameters]) -> dict[str, str]:
    """What docstrings say of the fields; that of the type itself goes before its bases'."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        told = re.sub(r"\n {8}", " ", inspect.cleandoc(each.__doc__ or ""))
        found |= dict(re.findall(r"^ {4}(\w+): (.*)$", told, re.MULTILINE))
    return found


def may_be(field: dict[str, Any]) -> str:
    """The values of a field of a JSON schema."""
    if field["type"] == "boolean":
        return "`true`, `false`"
    if "enum" in field:
        return ", ".join(f"`{choice}`" for choice in field["enum"])
    low = "above {exclusiveMinimum:g}" if "exclusiveMinimum" in field else "from {minimum:g}"
    high = "below {exclusiveMaximum:g}" if "exclusiveMaximum" in field else "to {maximum:,g}"
    kind = "whole, " if field["type"] == "integer" else ""
    return kind + f"{low} {high}".format(**field)


def test_the_page_of_hyperparameters_is_what_may_be_chosen():
    page = hyperparameters_page()
    if os.environ.get("MNIST_BENCH_RENEW_GOLDEN"):
        HYPERPARAMETERS.write_text(page, encoding="utf-8", newline="\n")
    assert HYPERPARAMETERS.read_text(encoding="utf-8") == page


def claims_page() -> str:
    parts = [CLAIMS_HEAD]
    for claim in declared.CLAIMS:
        parts.append(f"## {claim.number}. {claim.words}\n\nIn the paper: {claim.place}.\n")
        parts.append("| Asked | Holds where |\n| --- | --- |")
        parts += [f"| {each.question} | {each.rule} |" for each in claim.criteria]
        measured = "; ".join(dict.fromkeys(map(_measured_by, inputs_of([claim.number]))))
        parts.append(f"\nMeasured by: {measured}.\n")
    return "\n".join(parts)


def outcome_of(document: Document) -> str:
    """What the sample's run found of each claim: what decides it, as the report tells it."""
    lines = ["| # | What the paper says | Here | Found |", "| ---: | --- | --- | --- |"]
    for claim in document.claims:
        parts = "; ".join(found(each) for each in claim.decisions if each.verdict)
        lines.append(f"| {claim.claim} | {claim.words} | {claim.verdict} | {parts} |")
    return "\n".join(lines)


def test_the_page_on_the_paper_tells_what_the_sample_found() -> None:
    sample = ROOT / "reports" / "sample" / "report.json"
    told = outcome_of(Document.model_validate_json(sample.read_bytes()))
    before, rest = PAPER.read_text(encoding="utf-8").split("<!-- claims:begin -->\n")
    after = rest.partition("<!-- claims:end -->")[2]
    if os.environ.get("MNIST_BENCH_RENEW_GOLDEN"):
        page = f"{before}<!-- claims:begin -->\n{told}\n<!-- claims:end -->{after}"
        PAPER.write_text(page, encoding="utf-8", newline="\n")
    assert told in PAPER.read_text(encoding="utf-8")
    assert told.count("\n") > 10


def _measured_by(part: ClaimInput) -> str:
    """A part without its seed: all are trained alike."""
    return re.sub(r", seed \d+", "", str(part))


def test_the_page_of_claims_is_what_is_declared():
    page = claims_page()
    if os.environ.get("MNIST_BENCH_RENEW_GOLDEN"):
        CLAIMS.write_text(page, encoding="utf-8", newline="\n")
    assert CLAIMS.read_text(encoding="utf-8") == page


def test_every_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert cli.commands
    for name in cli.commands:
        assert f"`mnist-bench {name}" in readme


@pytest.mark.parametrize("page", ["README.md", "docs/measuring.md", "docs/paper.md"])
def test_flags_in_the_docs_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    options = {
        name
        for command in (cli, *cli.commands.values())
        for parameter in command.get_params(click.Context(command))
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    told = {
        flag
        for line in re.findall(r"mnist-bench [^`\n#|]*", text)
        for flag in re.findall(r"--[a-z][a-z-]*", line)
    }
    assert told <= options


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
    ],
)
def test_links_lead_somewhere(page):
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert missing == []


def test_the_readme_shows_the_sample_report():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("<!-- sample-table:begin -->")[2]
    shown = shown.partition("<!-- sample-table:end -->")[0]
    sample = (ROOT / "reports" / "sample" / "table-1.md").read_text(encoding="utf-8")
    rows = [line for line in sample.splitlines() if line.startswith("| 10,000 |")]
    assert rows
    assert rows[0] in shown


def test_the_readme_begins_as_the_sample_page():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("<!-- sample-headline:begin -->")[2]
    shown = " ".join(shown.partition("<!-- sample-headline:end -->")[0].replace(">", " ").split())
    page = (ROOT / "reports" / "sample" / "report.md").read_text(encoding="utf-8")
    headline = next(line for line in page.splitlines() if line.startswith("- Scenario table-1: "))
    assert shown == headline.removeprefix("- Scenario table-1: ")
