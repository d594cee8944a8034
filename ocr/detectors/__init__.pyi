from .identity import DetectorChoice as DetectorChoice
from .identity import DetectorIdentity as DetectorIdentity
from .output import DetectorOutput as DetectorOutput
from .output import Loss as Loss
from .registry import Detector as Detector
from .registry import find_detector as find_detector
from .registry import installed_detectors as installed_detectors
