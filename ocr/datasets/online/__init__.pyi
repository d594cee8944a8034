from .dataset_config import OnlineParams as OnlineParams
from .online_dataset import OnlineDataset as OnlineDataset
