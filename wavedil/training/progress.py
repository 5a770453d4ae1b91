"""What a run shows: one live bar on a terminal, plain lines off it."""

import sys
import time

from tqdm import tqdm


class Progress:
    """Progress over the whole run.

    Args:
        total: examples of the run.
        done: examples of an earlier part of it.
        shown: False in every process but one.
        terminal: whether to draw a bar; by default, whether stderr is a terminal.
    """

    def __init__(self, total: int, done: int = 0, shown: bool = True, terminal: bool | None = None) -> None:
        self.shown = shown
        self._live = shown and (sys.stderr.isatty() if terminal is None else terminal)
        self._total, self._done = total, done
        self.start()
        self._bar = tqdm(
            total=total, initial=done, unit=" examples", unit_scale=True, disable=not self._live, dynamic_ncols=True
        )

    def start(self) -> None:
        """Measure the rate from here on, what went before being no training."""
        self._since = time.perf_counter(), self._done

    def advance(self, examples: int) -> None:
        """Count the examples of a step."""
        self._done += examples
        self._bar.update(examples)

    def report(self, where: str, loss: float, accuracy: float) -> None:
        """Show the figures of the epoch so far: on the bar, or as a line.

        Args:
            where: such as ``"epoch 2/20, step 50/660"``.
            loss: mean of the epoch so far.
            accuracy: likewise.
        """
        if self._live:
            self._bar.set_description_str(where.partition(",")[0], refresh=False)
            self._bar.set_postfix_str(f"loss {loss:.3f}, accuracy {accuracy:.1%}")
            return
        start, first = self._since
        rate = (self._done - first) / max(time.perf_counter() - start, 1e-9)
        self.start()
        left = duration((self._total - self._done) / max(rate, 1e-9))
        self.say(f"{where}: loss {loss:.3f}, accuracy {accuracy:.1%}, {rate:,.0f} examples/s, {left} left")

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._live:
            self._bar.write(line)
        elif self.shown:
            print(line, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def duration(seconds: float) -> str:
    """Seconds as minutes and seconds, or hours too.

    Example:
        >>> duration(75), duration(3725)
        ('1:15', '1:02:05')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
