"""For the site: links to files outside of docs/ become text, since the site doesn't have them."""

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace `[name](../path)` by `name (path)`."""
    return re.sub(r"\[([^\]]+)\]\((?:\.\./)+([^)]+)\)", r"\1 (`\2`)", markdown)
