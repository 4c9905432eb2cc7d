#!/usr/bin/env python3
"""Compares what `meshseek plan` predicts of a mesh with runs of `meshseek bench`.

Each rank is alone on a "host": a network namespace with its own address, joined to the others by a bridge. Links are left as they are, slowed down by
MESHSEEK_TEST_LINK_DELAY_US, or limited by `tc qdisc .. tbf`. The figures that the prediction starts from are measured in the same situation: a device's
by as many runs on one device at the same time as the mesh has ranks, on the same cores; a link's by `plan` over the same links. Needs root, iproute2 and
OpenMPI; changes nothing outside its namespaces."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

NETWORK = "10.77.0"
MODEL = ["--synthetic", "v2-lite"]
TOKENS = 16  # of each decode test
TRIES, MOST_DRIFT = 3, 0.05
CASES = {"decode, 1 user": ("--tg", 1), "decode, 8 users": ("--tg", 8), "prefill 512": ("--pp", 1)}


def run(command, **options):
    result = subprocess.run(command, capture_output=True, text=True, **options)
    if result.returncode != 0:
        sys.exit(f"check_scaling: {' '.join(command)} failed: {(result.stderr or result.stdout).strip()[-2000:]}")
    return result.stdout


class Hosts:
    """Namespaces that stand for hosts, while it is entered."""

    def __init__(self, count):
        self.names = [f"ms{os.getpid()}h{idx}" for idx in range(count)]
        self.switch = f"ms{os.getpid()}sw"
        self.folder = tempfile.TemporaryDirectory()

    def __enter__(self):
        run(["ip", "netns", "add", self.switch])
        run(["ip", "-n", self.switch, "link", "add", "name", "switch", "type", "bridge"])
        run(["ip", "-n", self.switch, "link", "set", "switch", "up"])
        for idx, name in enumerate(self.names):
            run(["ip", "netns", "add", name])
            run(["ip", "link", "add", "name", "eth", "netns", name, "type", "veth", "peer", "name", f"p{idx}", "netns", self.switch])
            run(["ip", "-n", self.switch, "link", "set", f"p{idx}", "master", "switch", "up"])
            run(["ip", "-n", name, "addr", "add", f"{self.address(idx)}/24", "dev", "eth"])
            for device in ("lo", "eth"):
                run(["ip", "-n", name, "link", "set", device, "up"])
        agent = Path(self.folder.name) / "agent"  # in place of ssh: AGENT ADDRESS COMMAND..
        agent.write_text("#!/bin/sh\ncase $1 in\n" + "".join(
            f"{self.address(idx)}) name={name} core={core(idx)};;\n" for idx, name in enumerate(self.names)) +
            'esac\nshift\nexec ip netns exec $name taskset -c $core unshare --uts sh -c "hostname $name; $*"\n')
        agent.chmod(0o755)
        return self

    def __exit__(self, *error):
        for name in self.names + [self.switch]:
            subprocess.run(["ip", "netns", "del", name], check=False)
        self.folder.cleanup()

    @staticmethod
    def address(idx):
        return f"{NETWORK}.{idx + 1}"

    def limit(self, mbit):
        """The rate of every link in both directions."""
        for name in self.names:
            run(["tc", "-n", name, "qdisc", "replace", "dev", "eth", "root", "tbf", "rate", f"{mbit}mbit", "burst", "16kb", "latency", "200ms"])

    def mpirun(self, command, environment):
        network = f"{NETWORK}.0/24"
        passed = [word for name in environment for word in ("-x", name)]
        hosts = ",".join(f"{self.address(idx)}:1" for idx in range(len(self.names)))
        launcher = ["ip", "netns", "exec", self.names[0], "taskset", "-c", core(0), "unshare", "--uts", "sh", "-c", f'hostname {self.names[0]}; exec "$@"', "sh",
                    "mpirun", "--allow-run-as-root", "-n", str(len(self.names)), "-H", hosts, "--mca", "plm_rsh_agent", f"{self.folder.name}/agent",
                    "--mca", "oob_tcp_if_include", network, "--mca", "btl_tcp_if_include", network] + passed
        return run(launcher + command, env=os.environ | environment)


def core(rank):
    cores = sorted(os.sched_getaffinity(0))
    return str(cores[rank % len(cores)])


def bench_flags(case):
    flag, batch = CASES[case]
    return ["--pp", "512", "--tg", "0"] if flag == "--pp" else ["--pp", "0", "--tg", str(TOKENS), "--batch", str(batch)]


def bench(arguments):
    return [arguments.program, "bench"] + model(arguments) + ["--threads", "1", "--reps", str(arguments.reps), "--calibration-size", "64", "--json"]


def model(arguments):
    return MODEL + ["--num-layers", str(arguments.num_layers)] + (["--deterministic"] if arguments.deterministic else [])


def make_stores(arguments, mesh):
    """In the cache, so that no rank has to."""
    for shape in ("1x1", mesh):
        run(bench(arguments) + ["--mesh", shape, "--pp", "1", "--tg", "0"])


def device_figures(arguments, case, count):
    """Of one of `count` devices that all do the same at the same time, each with the whole model."""
    command = bench(arguments) + bench_flags(case)
    runs = [subprocess.Popen(["taskset", "-c", core(rank)] + command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for rank in range(count)]
    tests = []
    for one in runs:
        output, error = one.communicate()
        if one.returncode != 0:
            sys.exit(f"check_scaling: {' '.join(command)} failed: {error.strip()}")
        tests.append(json.loads(output)["rows"][0])
    return {name: statistics.mean(test[name] for test in tests) for name in ("tok_s", "read_gb_s", "bf16_tflop_s", "int8_top_s", "share")}


def measure(arguments, hosts, mesh, case, environment):
    """A mesh between two rounds of its devices alone; machines that others share change their speed, and then all is measured again.

    \return tokens/s of the mesh, figures of a device"""
    count = len(hosts.names)
    after = device_figures(arguments, case, count)
    for _ in range(TRIES):
        before = after
        tok_s = json.loads(hosts.mpirun(bench(arguments) + ["--mesh", mesh] + bench_flags(case), environment))["rows"][0]["tok_s"]
        after = device_figures(arguments, case, count)
        if abs(after["tok_s"] / before["tok_s"] - 1.0) <= MOST_DRIFT:
            break
    else:
        print(f"check_scaling: {case} on {mesh}: the machine does not keep its speed", file=sys.stderr)
    return tok_s, {name: (before[name] + after[name]) / 2.0 for name in after}


def link_figures(arguments, hosts, mesh, environment):
    """What plan measures over the links: flags for plan, and words for the table."""
    rates = json.loads(hosts.mpirun([arguments.program, "plan"] + model(arguments) + ["--mesh", mesh, "--threads", "1", "--json"], environment))["rates"]
    flags = {"--link-gbit": "link_gbit_s", "--link-latency-us": "link_latency_us", "--link-message-us": "link_message_us"}
    words = f"{rates['link_latency_us']:.0f} us, {rates['link_message_us']:.0f} us, {rates['link_gbit_s']:.2f} Gbit/s"
    return [word for flag, name in flags.items() for word in (flag, rates[name])], words


def predict(arguments, mesh, num_hosts, case, device, links):
    _, batch = CASES[case]
    rates = ["--read-gb-s", device["read_gb_s"], "--bf16-tflop-s", device["bf16_tflop_s"], "--int8-top-s", device["int8_top_s"],
             "--memory-share", device["share"], "--compute-share", device["share"]]
    command = [arguments.program, "plan"] + model(arguments) + ["--mesh", mesh, "--hosts", num_hosts, "--ctx", 2 * TOKENS, "--batch", batch, "--json"]
    plan = json.loads(run([str(word) for word in command + rates + links]))
    return plan["prefill" if case.startswith("prefill") else "decode"]


def compare(arguments, hosts, mesh, link, environment):
    links, words = link_figures(arguments, hosts, mesh, environment)
    for case in arguments.cases:
        measured, device = measure(arguments, hosts, mesh, case, environment)
        predicted = predict(arguments, mesh, len(hosts.names), case, device, links)
        print(f"| {mesh} | {link} | {words} | {case} | {device['tok_s']:.1f} | {measured:.1f} | {predicted['tok_s']:.1f} |"
              f" {100.0 * (predicted['tok_s'] / measured - 1.0):+.0f} % |"
              f" {1e3 * max(predicted['read_s'], predicted['compute_s']):.1f} + {1e3 * predicted['link_s']:.1f} |", flush=True)


def check_tools():
    for tool in ("ip", "tc", "mpirun", "taskset", "unshare"):
        if shutil.which(tool) is None:
            sys.exit(f"check_scaling: {tool} is not installed; expected iproute2, util-linux and OpenMPI")
    if os.geteuid() != 0:
        sys.exit("check_scaling: namespaces need root; run it as root")


def numbers(text):
    return [int(number) for number in text.split(",") if number]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the meshseek program")
    parser.add_argument("--meshes", default="1x2,2x1,1x4,2x2", help="default: %(default)s")
    parser.add_argument("--num-layers", type=int, default=3, help="of V2-Lite's shape; default: %(default)s")
    parser.add_argument("--delays", default="50,200,1000", help="microseconds before each message; default: %(default)s")
    parser.add_argument("--rates", default="1000,200", help="of the links, Mbit/s; default: %(default)s")
    parser.add_argument("--no-plain", action="store_true", help="leave out links as they are")
    parser.add_argument("--cases", default=";".join(CASES), type=lambda text: text.split(";"), help="default: %(default)s")
    parser.add_argument("--reps", type=int, default=3, help="repetitions of each test; default: %(default)s")
    parser.add_argument("--deterministic", action="store_true", help="meshes that are")
    arguments = parser.parse_args()
    arguments.program = shutil.which(arguments.program) or sys.exit(f"check_scaling: {arguments.program} is no program")
    arguments.program = str(Path(arguments.program).resolve())
    check_tools()
    print("| mesh | link | latency, message, rate | test | one device | mesh | predicted | error | predicted ms: device + links |")
    print("|---|---|---|---|---:|---:|---:|---:|---:|")
    for mesh in arguments.meshes.split(","):
        make_stores(arguments, mesh)
        rows, cols = mesh.split("x")
        with Hosts(int(rows) * int(cols)) as hosts:
            if not arguments.no_plain:
                compare(arguments, hosts, mesh, "as it is", {})
            for delay in numbers(arguments.delays):
                compare(arguments, hosts, mesh, f"delay {delay} us", {"MESHSEEK_TEST_LINK_DELAY_US": str(delay)})
            for rate in numbers(arguments.rates):
                hosts.limit(rate)
                compare(arguments, hosts, mesh, f"{rate} Mbit/s", {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
