"""Time and memory of `duplicates` on a million images, of kinds that are easy and hard.

    python benchmarks/duplicates.py [--images N] [--distances D ...]

Pairs at exactly the distance are planted, and all of them must be found. Each case runs in a
process of its own, so that its memory is its own. The hard kinds are hashes around few scenes,
pictures of a shop, most bits of which are alike, a million copies of few pictures, and a chain in
which each image matches the next, so that half of one group are kept. `new` compares a hundredth
of the images with the others.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import polars as pl

import polars_imgmeta as im
from polars_imgmeta.analysis.hamming import Hashes

_KINDS = ("uniform", "scenes", "shop", "copies", "chain", "new")
_MOST_SECONDS = 60
_BLOCK = 1 << 14


def photos(count: int, random: np.random.Generator) -> Hashes:
    """Return hashes like those of photos: 31 of 63 bits."""
    octets = np.empty((count, 8), np.uint8)
    for start in range(0, count, _BLOCK):
        block = random.random((min(_BLOCK, count - start), 63))
        bits = np.zeros((len(block), 64), np.uint8)
        bits[:, 1:] = block.argsort(axis=1) < 31  # noqa: PLR2004
        octets[start : start + len(block)] = np.packbits(bits, axis=1, bitorder="little")
    hashes: Hashes = octets.view(np.uint64)[:, 0]
    return hashes


def flipped(hashes: Hashes, flips: int, random: np.random.Generator) -> Hashes:
    """Return hashes that differ in exactly this many bits above 0."""
    changed = hashes.copy()
    for start in range(0, len(hashes), _BLOCK):
        block = changed[start : start + _BLOCK]
        which = random.random((len(block), 63)).argsort(axis=1)[:, :flips] + 1
        block ^= np.bitwise_or.reduce(np.uint64(1) << which.astype(np.uint64), axis=1)
    return changed


def lopsided(count: int, random: np.random.Generator) -> Hashes:
    """Return hashes whose bits are the more alike the higher they are, from half to a tenth."""
    shares = np.linspace(0.5, 0.1, 63)
    octets = np.empty((count, 8), np.uint8)
    for start in range(0, count, _BLOCK):
        bits = np.zeros((min(_BLOCK, count - start), 64), np.uint8)
        bits[:, 1:] = random.random((len(bits), 63)) < shares
        octets[start : start + len(bits)] = np.packbits(bits, axis=1, bitorder="little")
    hashes: Hashes = octets.view(np.uint64)[:, 0]
    return hashes


def draw(kind: str, count: int, distance: int) -> tuple[Hashes, int]:
    """Return hashes of a kind, whose last ones are near the first, and how many these are."""
    random = np.random.default_rng(0)
    planted = count // 100
    if kind == "scenes":
        scenes = photos(1_000, random)
        hashes = flipped(random.choice(scenes, count), 12, random)
    elif kind == "shop":
        hashes = lopsided(count, random) ^ photos(1, random)
    elif kind == "copies":
        hashes = random.choice(photos(10_000, random), count)
    elif kind == "chain":
        steps = flipped(np.zeros(count, np.uint64), distance, random)
        steps[0] = photos(1, random)[0]
        hashes = random.permutation(np.bitwise_xor.accumulate(steps))
    else:
        hashes = photos(count, random)
    hashes[-planted:] = flipped(hashes[:planted], distance, random)
    return hashes, planted


def measure(kind: str, count: int, distance: int) -> None:
    """Find the duplicates of one kind, and print the row of the table."""
    hashes, planted = draw(kind, count, distance)
    frame = pl.DataFrame({"perceptual_hash": hashes.view(np.int64)})
    known, new = (frame[:-planted], frame[-planted:]) if kind == "new" else (None, frame)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    found = im.duplicates(new, distance, against=known)["duplicate"].struct.unnest()
    seconds = time.process_time() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    copies = found["images"].tail(planted) > 1
    if kind != "new":
        groups = found["group"]
        copies = groups.tail(planted) == groups.head(planted)
    assert copies.all(), f"{planted - copies.sum()} of {planted} planted pairs were not found"
    print(f"|{kind}|{distance}|{seconds:.1f}|{memory / 1024 / count * 1e6:.0f}|", flush=True)
    assert seconds <= _MOST_SECONDS, "it took more than a minute of one core"


def main() -> None:
    """Measure each kind at each distance in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--distances", type=int, nargs="+", default=[2, 4, 6])
    parser.add_argument("--kind", choices=_KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind:
        measure(options.kind, options.images, *options.distances)
        return
    print("|kind|distance|processor seconds|MB for a million|\n|---|--:|--:|--:|", flush=True)
    for kind in _KINDS:
        for distance in options.distances:
            images = f"--images={options.images}"
            command = [__file__, images, f"--kind={kind}", f"--distances={distance}"]
            subprocess.run([sys.executable, *command], check=True)  # noqa: S603 - itself


if __name__ == "__main__":
    main()
