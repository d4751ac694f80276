"""The commands about this machine: `fetch` and `info`."""

from __future__ import annotations

import argparse

import minigrad as mg
from minigrad import data
from minigrad.cli import options


def add_to(commands: options.Commands) -> None:
    """Add `fetch` and `info`."""
    parser = commands.add(
        "fetch",
        fetch,
        arguments="mnist",
        summary="download a data set",
        about="Download MNIST (12 MB), or check the files that are there. They go to --data-dir, "
        "else to $MINIGRAD_DATA, else to the user's cache.",
        example="mnist",
    )
    parser.add_argument("dataset", metavar="mnist", choices=["mnist"], help="which")
    options.add_data_dir(parser)

    commands.add(
        "info",
        info,
        arguments="",
        summary="what this machine has: paste it into a bug report",
        about="Versions, CPU, kernels and why they were chosen, threads, BLAS, data "
        "folders and optional packages: what to paste into a bug report.",
        example="",
    )


def fetch(args: argparse.Namespace) -> None:
    """Download what is missing, check all, and say where it is."""
    if args.data_dir is not None:
        args.data_dir.mkdir(parents=True, exist_ok=True)  # it was named to be filled
    folder = data.mnist_folder(args.data_dir)
    print(f"MNIST in {folder}:", flush=True)
    for split in ("train", "test"):
        images, _ = data.mnist(split, args.data_dir)
        print(f"  {split:5} {len(images):6,} images, checked", flush=True)


def info(_: argparse.Namespace) -> None:
    """Print `mg.show_config`."""
    mg.show_config()
