"""``python -m wavedil``: the command without its script on the path."""

import sys

from wavedil.cli import main

if __name__ == "__main__":
    sys.exit(main())
