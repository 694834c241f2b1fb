"""Jinja environments of the report formats, with what every template may use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_bench.analysis import table1
from mnist_bench.analysis.costs import phases_of
from mnist_bench.core.escaping import code
from mnist_bench.reporting import columns, study, text
from mnist_bench.results.run_summary import share_a_training
from mnist_bench.scenarios import paper
from mnist_bench.tuning.confirmation_stats import confirmation_in_words

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"


def environment(macros: str, show: Callable[[str], str]) -> jinja2.Environment:
    """Environment of a format; whatever a template shows is escaped.

    Args:
        macros: Template of the format's headings, tables and other elements.
        show: Makes a text one line, and escapes what the format needs beyond HTML's characters.
    """
    import jinja2  # slow to load
    from markupsafe import Markup

    def finalize(value: object) -> str:
        return value if isinstance(value, Markup) else show(str(value))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES, encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The values are escaped already.
    environment.filters |= {
        "flat": lambda block: Markup(" ".join(block.split())),  # noqa: S704
        "without_blank_lines": lambda block: Markup(  # noqa: S704
            "\n".join(line for line in block.splitlines() if line.strip())
        ),
    }
    environment.globals |= {
        "macros": macros, "columns": columns, "text": text, "studies": study, "paper": paper,
        "table1": table1, "phases_of": phases_of, "share_a_training": share_a_training,
        "confirmation_in_words": confirmation_in_words, "most_lines": text.MOST_LINES,
        "code_block": lambda texts: Markup(code(*texts)),  # noqa: S704
        "charts": None, "curves": (), "confusions": (), "known": columns.known,
        "lead_charts": ("error-by-step", "phases"),
    }  # fmt: skip
    return environment
