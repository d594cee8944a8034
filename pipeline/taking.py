"""Take the pages of shared memory range by range, while it is filled: a disk need not wait for them.

Taking a page means that the kernel finds and clears it; on a virtual machine the host may have to give
it first, at half a second a gigabyte and more.
"""

from __future__ import annotations

import os
from threading import Lock

from pipeline.pages import HUGE_PAGE, Region


class PageTaker:
    """Takes pages of a memory file that is mapped at `region`, huge ones until the kernel has none at hand.

    Threads may take ranges that overlap; nobody may write into a range that was not taken.
    """

    def __init__(self, descriptor: int, region: Region, huge_pages: bool) -> None:
        self._descriptor = descriptor
        self._region = region
        self._size = os.fstat(descriptor).st_size
        self._huge_pages = huge_pages
        self._taken = bytearray(-(-self._size // HUGE_PAGE))
        self._locks = [Lock() for _ in self._taken]

    def take(self, offset: int, length: int) -> None:
        """Take the pages of a range, and what else its huge pages hold.

        Raises OSError where there is too little memory, and not a signal later.
        """
        for number in range(offset // HUGE_PAGE, -(-(offset + length) // HUGE_PAGE)):
            with self._locks[number]:
                if not self._taken[number]:
                    self._take(number * HUGE_PAGE)
                    self._taken[number] = True

    def _take(self, start: int) -> None:
        length = min(HUGE_PAGE, self._size - start)
        if self._huge_pages and length == HUGE_PAGE:
            # A range that holds one page and holes becomes a huge page without anything being copied.
            os.pwrite(self._descriptor, b"\0", start)
            self._huge_pages = self._region.collapse(start, length)
        os.posix_fallocate(self._descriptor, start, length)
