"""The detectors that come with warmstore: DBNet, of a residual backbone, a feature pyramid and two heads.

Names are imported when they are used; `__init__.pyi` says from where.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
