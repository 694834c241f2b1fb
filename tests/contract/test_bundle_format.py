"""The format of bundles: every field that leaves the machine is on a reviewed list."""

from __future__ import annotations

from golden import assert_golden_json

from mnist_bench.tracking.bundle import Bundle


def test_bundle_fields() -> None:
    """Check what a new field reveals about the user before adding it to the list."""
    schema = Bundle.model_json_schema()
    parts = {"Bundle": schema} | schema["$defs"]
    fields = {
        name: sorted(part["properties"])
        for name, part in sorted(parts.items())
        if "properties" in part
    }
    assert_golden_json("bundle-fields.json", fields)
