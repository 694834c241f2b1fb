"""The report as a self-contained HTML page; recorded text is escaped."""

from __future__ import annotations

import base64
import hashlib

from mnist_bench.core.escaping import one_line
from mnist_bench.reporting.figures import ReportCharts
from mnist_bench.reporting.model import Report
from mnist_bench.reporting.templating import TEMPLATES, environment


def report_to_html(report: Report, charts: ReportCharts) -> str:
    """Render the page."""
    script = (TEMPLATES / "report_page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment("macros.html.j2", one_line)
        .get_template("report_page.html.j2")
        .render(report=report, charts=charts, link=report.link, script=script, digest=digest)
    )
