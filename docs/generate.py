"""Write what is made from the options: the table in hatch_plugin/README.md, and the JSON schema for editors.

Run it after a change of `hatch_wheelweights/options/model.py`: `hatch run generate`. A test compares both.
"""

from __future__ import annotations

import json
from pathlib import Path

from hatch_wheelweights.options.documentation import json_schema, markdown_table

ROOT = Path(__file__).parents[1]
README = ROOT / "hatch_plugin" / "README.md"
SCHEMA = ROOT / "docs" / "wheelweights.schema.json"
BEGIN, END = "<!-- options: written by docs/generate.py -->\n", "<!-- /options -->"


def readme_with_table(text: str) -> str:
    """Return the README with the table of today between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{markdown_table()}\n\n{END}{after}"


def schema_text() -> str:
    """Return the schema as the file has it."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    README.write_text(readme_with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    SCHEMA.write_text(schema_text(), encoding="utf-8")
