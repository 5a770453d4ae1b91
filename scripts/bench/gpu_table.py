"""What gpu.sh left in a folder, as one JSON file and one page of Markdown tables.

python scripts/bench/gpu_table.py OUT
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

HEADER = (
    "config", "examples/s", "times (a)", "times (b)", "with a CUDA graph", "share of peak", "speedrun", "as a graph",
    "test accuracy",
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
    names = [row["part"].partition("-")[2] for row in parts if row["part"].startswith("train-")]
    files = {name: f"{name}-{{}}.json" for name in ("train_speed", "speedrun", "speedrun_graph")}
    files["report"] = "runs/{}/report.json"
    configs = {name: {key: _read(folder / pattern.format(name)) for key, pattern in files.items()} for name in names}
    return {"parts": parts, "configs": configs}


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    lines = ["| part | status | seconds |", "|---|---|---|"]
    lines += [f"| {row['part']} | {row['status']} | {row['seconds']} |" for row in results["parts"]]
    lines += ["", f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    for name, files in results["configs"].items():
        cells = [
            *speed_cells(files["train_speed"]),
            *map(_speedrun, (files["speedrun"], files["speedrun_graph"])),
            _accuracy(files["report"]),
        ]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def speed_cells(speed: dict[str, Any] | None) -> list[str]:
    """Rate of our loop, ratios to (a) the tutorials' and (b) eager float32, best rate as a graph, share of peak."""
    if speed is None:
        return ["-"] * 5
    _tutorial, _eager, ours, *graph = speed["rows"]
    ratios = [f"{ours[key]:.1f}" if key in ours else "-" for key in ("times_tutorial", "times_eager")]
    best = max(graph, key=lambda row: row.get("examples_per_second", 0.0), default=None)
    return [_rate(ours), *ratios, _rate(best) if best else "-", f"{speed['share_of_peak']:.2%}"]


def _rate(row: dict[str, Any]) -> str:
    return f"{row['examples_per_second']:,.0f}" if "error" not in row else "failed"


def _speedrun(speedrun: dict[str, Any] | None) -> str:
    if speedrun is None:
        return "-"
    last = speedrun["readings"][-1]
    to = f"{speedrun['seconds']:.1f} s to {last['together']:.2%}"
    return to if speedrun["reached"] else f"{to}, short of {speedrun['target']:.2%}"


def _accuracy(report: dict[str, Any] | None) -> str:
    return f"{report['test']['accuracy']:.2%} of {report['test']['n']:,}" if report and "test" in report else "-"


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
