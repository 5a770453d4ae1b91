"""Train a keyword model: ``python scripts/train.py --config configs/synthetic.toml [--train.epochs 3] [--resume]``.

The same as ``wavedil train``; the loop itself is wavedil/training/loop.py. With several processes:
``torchrun --nproc-per-node 2 scripts/train.py --config configs/synthetic.toml``.
"""

import sys

from wavedil.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
