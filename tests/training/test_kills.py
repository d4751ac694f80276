"""Training that is killed and resumed ends with the same bytes. `tools/kill_runs.py` does more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("safetensors", reason="files need safetensors")

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import argparse
import minigrad as mg
from minigrad import data, nn, optim, training
from minigrad.training import recipe

parser = argparse.ArgumentParser()
recipe.add_options(parser)
args = parser.parse_args()

def main():
    mg.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(676, 10),
    )
    images, labels = data.digits("train")
    loader = data.DataLoader(
        images[:300], labels[:300], 8, shuffle=True, transform=data.random_shift(2)
    )
    optimizer = optim.AdamW(model.parameters())
    schedule = optim.OneCycleLR(optimizer, 0.01, args.epochs * len(loader))
    training.fit(
        model, loader, optimizer=optimizer, schedule=schedule, epochs=args.epochs,
        validation=data.digits("test"), out=args.out, resume=args.resume,
        save_every=args.save_every,
    )

recipe.run(main)
"""


def test_kills_at_random_moments_lose_nothing(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    options = ["--kills", "6", "--save-every", "0.001", "--epochs", "4"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/kill_runs.py"), "--program", str(program), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all ended like the whole one" in done.stdout
