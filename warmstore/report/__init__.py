"""The report on a work folder: facts are collected once, and rendered as Markdown, HTML or JSON.

Names are imported when they are used; `__init__.pyi` says from where.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
