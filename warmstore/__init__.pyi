from ocr.datasets import OcrDataModule as OcrDataModule
from ocr.datasets import OnlineDataset as OnlineDataset
from ocr.datasets import TensorDataset as TensorDataset
from ocr.datasets import collate as collate
from ocr.detection import BoxDecoder as BoxDecoder
from ocr.maps import MapParams as MapParams
from ocr.maps import build_maps as build_maps
from ocr.metrics import CLEval as CLEval
from ocr.metrics import IouHmean as IouHmean
from ocr.training import DetectorModule as DetectorModule
from pipeline.store import open_store as open_store

__all__: list[str]
