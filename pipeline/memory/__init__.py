"""Bytes in memory: chunk files as one mapped array, the page cache, one shared copy for all processes."""

from pipeline.memory.address_range import HUGE_PAGE, PAGE, AddressRange, whole_pages
from pipeline.memory.limits import available_memory
from pipeline.memory.mapped_array import MappedArray, Samples
from pipeline.memory.page_cache import (
    InMemory,
    file_residency,
    read_direct,
    residency_is_told,
    store_residency,
)
from pipeline.memory.shared_chunks import Chunks, SharedChunks, Slot, runs
from pipeline.memory.shared_memory import Handle, PageTaker, SharedMemory
