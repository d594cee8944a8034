from .ram_cache import CacheParams as CacheParams
from .ram_cache import Mode as Mode
from .store_check import check_expected as check_expected
from .store_reader import as_tensor as as_tensor
from .tensor_dataset import TensorDataset as TensorDataset
