"""Reading samples: from a store, or online from the raw files; and the data module that trains on them.

Names are imported when they are used; `__init__.pyi` says from where.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
