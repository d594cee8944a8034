from .datamodule import OcrDataModule as OcrDataModule
from .loader import BatchLoader as BatchLoader
from .online.dataset_config import CacheConfig as CacheConfig
from .online.dataset_config import DatasetConfig as DatasetConfig
from .online.dataset_config import ImageLoadingConfig as ImageLoadingConfig
from .online.online_dataset import OnlineDataset as OnlineDataset
from .statistics import Statistics as Statistics
from .stored.tensor_dataset import TensorDataset as TensorDataset
