"""What `warmstore doctor` tells of the machine."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ocr.images import libraries
from warmstore import show

_PACKAGES = (
    "torch",
    "pytorch-lightning",
    "zarr",
    "numcodecs",
    "PyTurboJPEG",
    "opencv-python-headless",
    "pyclipper",
    "numba",
)


def examine() -> dict[str, Any]:
    """Look at libraries, processors, memory, limits and devices; strings for people."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    found |= {name: _version(name) for name in _PACKAGES}
    found |= libraries.describe()
    found["processors"] = str(_processors())
    found["load"] = advice_on_load() or f"{os.getloadavg()[0]:.1f}"
    found["memory"] = _memory()
    found["disk free here"] = show.size(shutil.disk_usage(Path.cwd()).free)
    shm = Path("/dev/shm")
    found["shared memory"] = show.size(shutil.disk_usage(shm).free) if shm.is_dir() else "none"
    maps = Path("/proc/sys/vm/max_map_count")
    found["vm.max_map_count"] = maps.read_text().strip() if maps.exists() else "unknown"
    found["device"] = _device()
    return found


def advice_on_load() -> str | None:
    """Advise on threads where the processors have more to do than they can, and nobody has set threads."""
    load = os.getloadavg()[0]
    if load <= _processors() or "OMP_NUM_THREADS" in os.environ:
        return None
    return (
        f"{load:.1f}, more than {_processors()} processors can do: "
        "while that lasts, a small network may train faster with OMP_NUM_THREADS=1"
    )


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _memory() -> str:
    import psutil

    memory = psutil.virtual_memory()
    return f"{show.size(memory.available)} available of {show.size(memory.total)}"


def _device() -> str:
    import torch

    from ocr.training import default_precision

    gpu = torch.cuda.is_available()
    name = f"{torch.cuda.get_device_name()} (CUDA {torch.version.cuda})" if gpu else "CPU only"
    default = default_precision("cuda" if gpu else "cpu")
    why = ", because this processor has no AVX512_BF16" if default == "32-true" else ""
    return f"{name}: {default} is the default precision{why}"
