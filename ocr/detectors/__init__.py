"""What a detector is: its entry in the registry, what its weights belong to, what its network gives.

Names are imported when they are used; `__init__.pyi` says from where.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
