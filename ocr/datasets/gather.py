"""Copy samples in any order into a batch, by stores that pass the caches by.

An ordinary store first fetches the line of memory that it overwrites, so a copy moves three bytes for
each one that it copies. Non-temporal stores move two; and a batch is larger than the caches, so its
reader finds it in memory either way. Neither NumPy nor torch offers them: hence a loop in LLVM's
language, compiled for the processor at hand in some milliseconds.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import torch
from numpy.typing import NDArray

_LINE = 64
# Less than this stays in a core's own cache, where its reader finds it sooner.
_LEAST_BYTES = 1 << 21

# LLVM Language Reference, "store": `!nontemporal` metadata. The fence makes the stores visible to the
# thread that takes over the batch.
_LOOP = """
define void @gather(ptr %source, i64 %size, ptr %rows, i64 %count, ptr %out) {
entry:
  br label %next_sample
next_sample:
  %position = phi i64 [0, %entry], [%following, %sample_done]
  %is_left = icmp slt i64 %position, %count
  br i1 %is_left, label %sample, label %end
sample:
  %row_at = getelementptr i64, ptr %rows, i64 %position
  %row = load i64, ptr %row_at
  %source_offset = mul i64 %row, %size
  %out_offset = mul i64 %position, %size
  %from = getelementptr i8, ptr %source, i64 %source_offset
  %to = getelementptr i8, ptr %out, i64 %out_offset
  br label %line
line:
  %offset = phi i64 [0, %sample], [%after, %line]
  %line_from = getelementptr i8, ptr %from, i64 %offset
  %line_to = getelementptr i8, ptr %to, i64 %offset
  %values = load <16 x i32>, ptr %line_from, align 1
  store <16 x i32> %values, ptr %line_to, align 64, !nontemporal !0
  %after = add i64 %offset, 64
  %has_more = icmp ult i64 %after, %size
  br i1 %has_more, label %line, label %sample_done
sample_done:
  %following = add i64 %position, 1
  br label %next_sample
end:
  fence seq_cst
  ret void
}
!0 = !{i32 1}
"""


def gather(samples: torch.Tensor, rows: Sequence[int] | NDArray[np.int64], out: torch.Tensor) -> None:
    """Copy samples `rows` of `samples` (N, …) into `out` (B, …), both contiguous and of one dtype.

    Does what `torch.index_select(samples, 0, rows, out=out)` does, and like it lets other threads run.

    Raises IndexError where there is no such row, ValueError where `out` has room for more or fewer.
    """
    index = np.ascontiguousarray(rows, np.int64)
    if len(index) != len(out):
        raise ValueError(f"{len(index)} rows for a batch of {len(out)}")
    size = out.nbytes // max(1, len(out))
    if out.nbytes < _LEAST_BYTES or size % _LINE or out.data_ptr() % _LINE:
        torch.index_select(samples, 0, torch.from_numpy(index), out=out)
        return
    if index.min() < 0 or index.max() >= len(samples):
        raise IndexError(f"rows {index.min()} to {index.max()} of {len(samples)}")
    copy, _ = load_copy()
    copy(samples.data_ptr(), size, index.ctypes.data, len(index), out.data_ptr())


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
    prototype = ctypes.CFUNCTYPE(None, address, word, address, word, address)
    return prototype(engine.get_function_address("gather")), engine
