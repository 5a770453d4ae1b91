"""What gpu.sh left in a folder, as one JSON file and one page of Markdown tables.

python scripts/bench/gpu_table.py OUT
"""

import csv
import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

HEADER = (
    "config", "batch", "examples/s", "times (a)", "times (b)", "share of peak", "speedruns", "test accuracy",
)  # fmt: skip


def main(folder: Path) -> None:
    """Write gpu.json and gpu.md into the folder, and print the page."""
    results = collect(folder)
    page = markdown(results)
    (folder / "gpu.json").write_text(json.dumps(results, indent=2) + "\n")
    (folder / "gpu.md").write_text(page + "\n")
    print(page)


def collect(folder: Path) -> dict[str, Any]:
    """The parts that ran, and by config what train_speed, speedrun and training wrote, None where they did not."""
    with (folder / "parts.tsv").open(newline="") as file:
        parts = [
            {"part": row["part"], "status": int(row["status"]), "seconds": int(row["seconds"])}
            for row in csv.DictReader(file, delimiter="\t")
        ]
    names = dict.fromkeys(_config_of(row["part"]) for row in parts if "-" in row["part"])
    configs = {
        name: {
            "train_speed": _read(folder / f"train_speed-{name}.json"),
            "speedruns": [_read(path) for path in sorted(folder.glob(f"speedrun-{name}-[0-9].json"))],
            "report": _read(folder / "runs" / name / "report.json"),
        }
        for name in names
    }
    return {"parts": parts, "configs": configs}


def _config_of(part: str) -> str:
    """Of "train-NAME", "train_speed-NAME" and "speedrun-NAME-SEED", whose name may have hyphens."""
    kind, _, name = part.partition("-")
    return name.rpartition("-")[0] if kind == "speedrun" else name


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    lines = ["| part | status | seconds |", "|---|---|---|"]
    lines += [f"| {row['part']} | {row['status']} | {row['seconds']} |" for row in results["parts"]]
    lines += ["", f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    for name, files in results["configs"].items():
        cells = [*speed_cells(files["train_speed"]), _speedruns(files["speedruns"]), _accuracy(files["report"])]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def speed_cells(speed: dict[str, Any] | None) -> list[str]:
    """Batch, rate of our loop, ratios to (a) the tutorials' and (b) eager float32, share of peak."""
    if speed is None:
        return ["-"] * 5
    ours = speed["rows"][2]
    ratios = [f"{ours[key]:.1f}" if key in ours else "-" for key in ("times_tutorial", "times_eager")]
    rate = f"{ours['examples_per_second']:,.0f}" if "error" not in ours else "failed"
    return [str(speed["batch_size"]), rate, *ratios, f"{speed['share_of_peak']:.2%}"]


def _speedruns(speedruns: list[dict[str, Any]]) -> str:
    """The median time, and each; a seed that fell short counts as the slowest."""
    if not speedruns:
        return "-"
    times = [run["seconds"] if run["reached"] else math.inf for run in speedruns]
    each = ", ".join(f"{seconds:.1f}" if seconds < math.inf else "short of it" for seconds in times)
    middle = statistics.median_high(times)
    median = f"{middle:.1f} s" if middle < math.inf else "not reached"
    return f"{median} to {speedruns[0]['target']:.2%} ({each})"


def _accuracy(report: dict[str, Any] | None) -> str:
    return f"{report['test']['accuracy']:.2%} of {report['test']['n']:,}" if report and "test" in report else "-"


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
