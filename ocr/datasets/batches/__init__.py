"""Batches on their way to the device: collating, reused buffers, prefetching, normalising."""

from ocr.datasets.batches.batch import (
    ARRAYS,
    DEFAULT_FIELDS,
    LISTS,
    ROWS,
    Batch,
    Deferred,
    Sample,
    Samples,
    check_fields,
    collate,
)
from ocr.datasets.batches.buffers import BufferPool
from ocr.datasets.batches.device_copy import Prepare, ahead_on_device, prepared
from ocr.datasets.batches.normalise import Normaliser
from ocr.datasets.batches.prefetch import one_ahead
