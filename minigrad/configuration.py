"""What minigrad runs on, and what it chose: the first thing to paste into a bug report."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

import minigrad_ext as ext
from minigrad import interpreted

# What decides how fast the kernels can be; of the dozens that a CPU lists.
FLAGS = (
    *("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
    *("avx512_bf16", "amx_bf16", "asimd", "sve"),
)

# What the extras bring, and what minigrad gets on with.
PACKAGES = (
    *("einops", "matplotlib", "pillow", "safetensors", "scipy-openblas32", "tensorboardX"),
    *("torch", "tqdm"),
)

# What minigrad and the libraries under it listen to.
VARIABLES = (
    *("MINIGRAD_CACHE_MB", "MINIGRAD_DATA", "MINIGRAD_INTERPRETED", "MINIGRAD_ISA"),
    *("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"),
    *("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "XDG_CACHE_HOME"),
)

Config = dict[str, dict[str, str]]


def config() -> Config:
    """Versions, CPU, kernels, BLAS, threads, environment, data, packages: texts by section."""
    from minigrad import __version__

    return {
        "versions": {
            "minigrad": __version__,
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "numpy": np.__version__,
            "system": platform.platform(),
        },
        "cpu": _cpu(),
        "kernels": _kernels(),
        "blas": {name: value for name, value in ext.config().items() if name != "isa"},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "data": _data(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def show_config() -> None:
    """Print what `config` returns."""
    for section, entries in config().items():
        print(f"{section}:")  # noqa: T201 - this is what it is for
        width = max(9, *map(len, entries), 0)
        for name, value in entries.items() or [("(none)", "")]:
            print(f"  {name:<{width}} {value}".rstrip())  # noqa: T201


def _version(package: str) -> str:
    """Of a package that need not be there; without importing it."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cpu() -> dict[str, str]:
    """Its name, the flags that matter, and how many CPUs this process may use."""
    described = _described_by_linux()
    name = described.get("model name") or platform.processor() or platform.machine()
    listed = (described.get("flags") or described.get("Features") or "").split()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags = " ".join(flag for flag in FLAGS if flag in listed)
    return {"name": name, "flags": flags or "unknown", "usable": f"{usable} of {os.cpu_count()}"}


def _described_by_linux() -> dict[str, str]:
    """The first CPU's entry in /proc/cpuinfo; empty on other systems."""
    try:
        entry = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in entry.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _kernels() -> dict[str, str]:
    """Which engine runs, the instruction set that was chosen, both with why; dial and threads."""
    asked = os.environ.get("MINIGRAD_ISA")
    why = f"MINIGRAD_ISA={asked} asks for it" if asked else "the best that this CPU has"
    return {
        "engine": f"interpreted ({interpreted.why})" if interpreted.why else "compiled",
        "isa": f"{ext.config().get('isa', 'baseline')} ({why})",
        "dial": ext.current_kernels(),
        "threads": str(ext.get_num_threads()),
    }


def _data() -> dict[str, str]:
    """Where MNIST is looked for, and whether it is there."""
    from minigrad.data.mnist import FILES, cache_dir

    named = os.environ.get("MINIGRAD_DATA")
    try:
        cache = str(cache_dir())
    except RuntimeError as error:  # a user without a home
        return {"cache": f"none: {error}"}
    folders = {"named": named, "cache": cache} if named else {"cache": cache}
    names = [file.name for files in FILES.values() for file in files]
    return {name: f"{folder} ({_count(folder, names)} files)" for name, folder in folders.items()}


def _count(folder: str, names: list[str]) -> str:
    found = [
        name for name in names if any(Path(folder, name + end).exists() for end in ("", ".gz"))
    ]
    return f"{len(found)} of {len(names)}"
