"""What N processes would give, computed from what was measured on one: step time, gradient bytes, bandwidth, latency.

    all-reduce = 2 (N - 1) / N x bytes / bandwidth + 2 (N - 1) x latency        a ring over the slowest link it has
    step       = measured step + all-reduce                                     as if nothing of it were hidden
    efficiency = measured step / step

The gradient is float32 whatever the precision of the step. DistributedDataParallel hides part of the all-reduce behind
the backward pass, and NCCL takes trees where rings are slow, so the table is a lower bound.

Usage: python scripts/bench/scaling.py --step-ms MS --batch B --parameters P --bandwidth GB/S --network GB/S
"""

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """Links between processes, in bytes a second and seconds.

    Attributes:
        bandwidth: between two processes of a machine.
        network: between two machines.
        latency: of a message within a machine.
        network_latency: of a message between machines.
        size: processes on a machine.
    """

    bandwidth: float
    network: float
    latency: float
    network_latency: float
    size: int = 8

    def all_reduce_seconds(self, processes: int, size: float) -> float:
        """Time of a ring all-reduce of ``size`` bytes."""
        inside = processes <= self.size
        bandwidth, latency = (self.bandwidth, self.latency) if inside else (self.network, self.network_latency)
        return 2 * (processes - 1) * (size / processes / bandwidth + latency)


def row(processes: int, step_seconds: float, batch: int, parameters: int, machine: Machine) -> tuple[float, ...]:
    """Milliseconds of the all-reduce and of the step, examples a second, and efficiency.

    Args:
        processes: how many.
        step_seconds: measured on one process with its share of the batch.
        batch: examples of one process in a step; the whole batch grows with the processes.
        parameters: trained, each with four bytes of gradient.
        machine: the links.
    """
    reduction = machine.all_reduce_seconds(processes, 4 * parameters)
    step = step_seconds + reduction
    return 1e3 * reduction, 1e3 * step, processes * batch / step, step_seconds / step


def main(arguments: list[str] | None = None) -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step-ms", type=float, required=True, help="measured on one process, without communication")
    parser.add_argument("--batch", type=int, required=True, help="examples of one process in a step")
    parser.add_argument("--parameters", type=int, required=True)
    parser.add_argument("--bandwidth", type=float, required=True, help="GB/s between two processes of a machine")
    parser.add_argument("--network", type=float, required=True, help="GB/s between two machines")
    parser.add_argument("--latency-us", type=float, default=5.0, help="of a message within a machine")
    parser.add_argument("--network-latency-us", type=float, default=20.0, help="of a message between machines")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--per-machine", type=int, default=8)
    args = parser.parse_args(arguments)
    latencies = 1e-6 * args.latency_us, 1e-6 * args.network_latency_us
    machine = Machine(1e9 * args.bandwidth, 1e9 * args.network, *latencies, args.per_machine)
    print("| processes | whole batch | all-reduce, ms | step, ms | examples/s | efficiency |")
    print("|---|---|---|---|---|---|")
    for number in args.processes:
        reduction, step, rate, efficiency = row(number, 1e-3 * args.step_ms, args.batch, args.parameters, machine)
        print(f"| {number} | {number * args.batch:,} | {reduction:.3f} | {step:.3f} | {rate:,.0f} | {efficiency:.1%} |")


if __name__ == "__main__":
    main()
