from ocr.datasets import OcrDataModule as OcrDataModule
from ocr.datasets import OnlineDataset as OnlineDataset
from ocr.datasets import TensorDataset as TensorDataset
from ocr.datasets import collate as collate
from ocr.detection import BoxDecoder as BoxDecoder
from ocr.detection import Detections as Detections
from ocr.detectors import Detector as Detector
from ocr.detectors import DetectorOutput as DetectorOutput
from ocr.evaluation import DetectorScore as DetectorScore
from ocr.evaluation import evaluate_detector as evaluate_detector
from ocr.maps import MapParams as MapParams
from ocr.maps import build_maps as build_maps
from ocr.metrics import CLEval as CLEval
from ocr.metrics import IouHmean as IouHmean
from ocr.training import DetectorModule as DetectorModule
from pipeline.stage import Parameters as Parameters
from pipeline.store import open_store as open_store

__all__: list[str]
