"""Shows the examples in docstrings as code in the reference: an extension of griffe (see mkdocs.yml)."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^>>> .*\n?(?:^(?!>>>)\S.*\n?)*)+", re.M)


class DoctestBlocks(griffe.Extension):
    """Puts fences round every run of `>>>` lines and what they print."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change an object's docstring. Called by griffe when it has read one."""
        if obj.docstring and ">>>" in obj.docstring.value:
            text = EXAMPLE.sub(lambda found: f"\n```python\n{found[0].strip()}\n```\n", obj.docstring.value)
            obj.docstring.value = text
