"""Image files: what they are, what they may cost, their pixels. Untrusted bytes come in, verdicts go out.

Nothing here imports torch at once; only the resize does, when it is first called.
"""

from ocr.images.header import Header, Limits, accepted, read_header
from ocr.images.jpeg import Damage

__all__ = ["Damage", "Header", "Limits", "accepted", "read_header"]
