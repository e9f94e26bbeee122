"""Kill runs at random moments, and check that the resumed runs always give the same picture.

python tools/torture.py --kills 300 [--seed 0] [--signal KILL|TERM]

Each run is killed and resumed until it finishes. Then its bytes are compared with those of an uninterrupted run, and
its tiles are counted: no finished tile may be computed again.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.run.test_resume import SMALL, save
from tests.run.victim import POINTS, Victim


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", choices=["KILL", "TERM"], default="KILL")
    options = parser.parse_args()
    rng, kills, runs, where = random.Random(options.seed), 0, 0, Counter[str]()
    number = signal.Signals[f"SIG{options.signal}"]
    victim = Victim()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out, run = folder / "out.png", folder / "out.png.run"
        what = {
            "content": save(folder / "photo.png", 64, 80, 1),
            "style": save(folder / "painting.png", 90, 96, 2),
            "output": out,
            "config": SMALL,
        }
        first = victim.run(**what)
        assert first.code == 0, first.message
        expected = out.read_bytes()
        out.unlink()
        while kills < options.kills:
            tiles: Counter[tuple[int, int, int]] = Counter()
            while not out.exists() or run.exists():
                point = f"{rng.choice(POINTS)}@{rng.choice([1, 1, 2, 3, 5, 8, 13])}"
                at_random_time = rng.random() < 0.4
                how = {"after": rng.uniform(0, first.seconds)} if at_random_time else {"point": point}
                end = victim.run(**what, **how, signal=number)
                assert end.code in (0, -number, 128 + number), end.message
                tiles += end.tiles()
                if end.code:
                    kills += 1
                    where["at a random time" if at_random_time else point.partition("@")[0]] += 1
            assert out.read_bytes() == expected, "the picture differs"
            assert max(tiles.values()) == 1, "a finished tile was computed again"
            assert sorted(path.name for path in folder.iterdir()) == ["out.png", "painting.png", "photo.png"]
            out.unlink()
            runs += 1
            print(f"{runs} runs, {kills} interruptions: the same bytes, no tile computed twice", flush=True)
    victim.close()
    for place, count in sorted(where.items()):
        print(f"{count:5d}  {place}")


if __name__ == "__main__":
    main()
