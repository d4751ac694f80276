"""The options that all benchmarks take, and who takes part."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks import peers
from benchmarks.harness.networks import NETWORKS, parse

FAMILIES = [family for family in peers.SIDES if family != "minigrad"]
AVX2_ONLY = {  # what makes minigrad, its BLAS, PyTorch and JAX do without AVX-512
    "MINIGRAD_ISA": "avx2",
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}


def parser(
    doc: str | None, *, iterations: int, networks: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """The options of a benchmark; with `networks`, those that choose one, too."""
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = result.add_argument
    add("--peers", type=_names, default=["torch"], help=f"of {', '.join(FAMILIES)}")
    add("--threads", type=_numbers, default=[1, 2], help="numbers of threads, as 1,2")
    add("--iterations", type=_natural, default=iterations, help=f"turns of each ({iterations})")
    add("--isa", choices=["best", "avx2"], default="best", help="avx2: no side uses more")
    add("--json", type=Path, help="also write what was measured to this file")
    if networks:
        names = f"{', '.join(NETWORKS)}, or words as in benchmarks/harness/networks.py"
        add("--network", action="append", help=f"{names}; can be repeated")
        add("--batch", type=_numbers, default=[128], help="numbers of images, as 1,128")
        add("--image", type=_shape, default=(28, 28, 1), help="height x width x channels: 28x28x1")
        result.set_defaults(networks=networks)
    return result


def read(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse; name the peers that are not here; set the environment of an AVX2-only run."""
    options = parser.parse_args(arguments)
    absent = [reason for family in options.peers if (reason := peers.missing(family))]
    if absent:
        print(f"left out: {', '.join(absent)}")
    options.peers = [family for family in options.peers if not peers.missing(family)]
    options.sides = [
        side for family in ["minigrad", *options.peers] for side in peers.SIDES[family]
    ]
    if "network" in options:
        options.network = options.network or options.networks
        try:
            for network in options.network:
                parse(network, options.image)
        except ValueError as error:
            parser.error(str(error))
    if options.isa == "avx2":
        os.environ.update(AVX2_ONLY)  # the sides are processes that inherit it
    return options


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in FAMILIES:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(FAMILIES)}")
    return names


def _natural(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text}")
    return int(text)


def _numbers(text: str) -> list[int]:
    return [_natural(part) for part in text.split(",")]


def _shape(text: str) -> tuple[int, ...]:
    shape = tuple(_natural(part) for part in text.split("x"))
    if len(shape) != 3:
        raise argparse.ArgumentTypeError(f"expected HxWxC as in 28x28x1, got {text}")
    return shape
