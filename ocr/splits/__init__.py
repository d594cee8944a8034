"""A split of a data set: which samples it lists, and the frame that their labels are drawn in."""

from ocr.splits.annotated_split import AnnotatedSplit, LocatedImage
from ocr.splits.header_cache import HeaderCache
from ocr.splits.image_names import ImageRoot, check_names, sample_id
from ocr.splits.label_frame_sheet import FrameRow, draw_sheet, frame_rows
from ocr.splits.label_frames import FrameEvidence, LabelFrame, decide_frames, fits
from ocr.splits.overview import Overview, look_over
