"""Copy samples in any order into a batch, on several threads, by stores that pass the caches by.

An ordinary store first fetches the line of memory that it overwrites, so a copy moves three bytes for
each one that it copies. Non-temporal stores move two; and a batch is larger than the caches, so its
reader finds it in memory either way. Neither NumPy nor torch offers them: hence a loop in LLVM's
language, compiled for the processor at hand in some milliseconds.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import torch
from numpy.typing import NDArray

_LINE = 64
# Less than this stays in a core's own cache, where its reader finds it sooner.
_LEAST_BYTES = 1 << 21

# A piece is four numbers: where from, where to, how many bytes, and whether they are whole lines to be
# streamed. LLVM Language Reference, "store": `!nontemporal` metadata. The fence makes the stores visible
# to the thread that takes over the batch.
_LOOP = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define void @gather(ptr %pieces, i64 %count, ptr %taken) {
entry:
  br label %next_piece
next_piece:
  %piece = atomicrmw add ptr %taken, i64 1 monotonic
  %is_left = icmp slt i64 %piece, %count
  br i1 %is_left, label %look, label %end
look:
  %entry_at = getelementptr [4 x i64], ptr %pieces, i64 %piece
  %to_at = getelementptr i64, ptr %entry_at, i64 1
  %size_at = getelementptr i64, ptr %entry_at, i64 2
  %streamed_at = getelementptr i64, ptr %entry_at, i64 3
  %from = load ptr, ptr %entry_at
  %to = load ptr, ptr %to_at
  %size = load i64, ptr %size_at
  %streamed = load i64, ptr %streamed_at
  %is_streamed = icmp ne i64 %streamed, 0
  br i1 %is_streamed, label %line, label %whole
whole:
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %size, i1 false)
  br label %next_piece
line:
  %offset = phi i64 [0, %look], [%after, %line]
  %line_from = getelementptr i8, ptr %from, i64 %offset
  %line_to = getelementptr i8, ptr %to, i64 %offset
  %values = load <16 x i32>, ptr %line_from, align 1
  store <16 x i32> %values, ptr %line_to, align 64, !nontemporal !0
  %after = add i64 %offset, 64
  %has_more = icmp ult i64 %after, %size
  br i1 %has_more, label %line, label %next_piece
end:
  fence seq_cst
  ret void
}
!0 = !{i32 1}
"""


class Gathering:
    """Samples on their way into the buffers of a batch, copied by all threads that call `help`.

    Each takes the next sample that nobody has taken, whatever its field, until none is left: so all are
    done at about the same time, and need the interpreter's lock only to begin and to end.
    """

    def __init__(self) -> None:
        self._pieces = np.empty((0, 4), np.int64)
        self._taken = np.zeros(1, np.int64)
        self._kept: list[torch.Tensor] = []
        self._reads: deque[Callable[[], object]] = deque()

    def copy(self, samples: torch.Tensor, rows: Sequence[int] | NDArray[np.int64], out: torch.Tensor) -> None:
        """Have samples `rows` of `samples` (N, …) copied into `out` (B, …), both contiguous, of one dtype.

        The result is what `torch.index_select(samples, 0, rows, out=out)` gives.

        Raises IndexError where there is no such row, ValueError where `out` has room for more or fewer.
        """
        index = np.ascontiguousarray(rows, np.int64)
        if len(index) != len(out):
            raise ValueError(f"{len(index)} rows for a batch of {len(out)}")
        if not out.nbytes:
            return
        if index.min() < 0 or index.max() >= len(samples):
            raise IndexError(f"rows {index.min()} to {index.max()} of {len(samples)}")
        size = out.nbytes // len(out)
        pieces = np.empty((len(index), 4), np.int64)
        pieces[:, 0] = samples.data_ptr() + index * size
        pieces[:, 1] = np.arange(out.data_ptr(), out.data_ptr() + out.nbytes, size)
        pieces[:, 2] = size
        pieces[:, 3] = out.nbytes >= _LEAST_BYTES and not (size % _LINE or out.data_ptr() % _LINE)
        self._pieces = np.concatenate((self._pieces, pieces))
        self._kept += (samples, out)

    def read(self, work: Callable[[], object]) -> None:
        """Have something done that fills a buffer in another way."""
        self._reads.append(work)

    def help(self) -> None:
        """Take part until nothing is left to begin; what others have begun may still be under way."""
        while self._reads:
            try:
                work = self._reads.popleft()
            except IndexError:  # another thread was first
                break
            work()
        if len(self._pieces):
            copy, _ = load_copy()
            copy(self._pieces.ctypes.data, len(self._pieces), self._taken.ctypes.data)


@cache
def load_copy() -> tuple[Any, Any]:
    """Compile the loop; gives it with what keeps it.

    Call it once before threads gather: a process that is forked while this runs could not run it again.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM cannot ask every kind of processor; its name says enough
        features = ""
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_LOOP), machine)
    engine.finalize_object()
    address, word = ctypes.c_void_p, ctypes.c_int64
    prototype = ctypes.CFUNCTYPE(None, address, word, address)
    return prototype(engine.get_function_address("gather")), engine
