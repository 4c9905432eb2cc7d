#!/usr/bin/env python3
"""Compares what `meshseek plan` predicts of a mesh with runs of `meshseek bench`.

Two "hosts", network namespaces with a core each and a veth pair between them, share out the ranks. Links are left as they are, slowed down by
MESHSEEK_TEST_LINK_DELAY_US, or limited by `tc qdisc .. tbf`. The figures that a prediction starts from are measured in the same situation: a device's by as many
runs on one device at once as the mesh has ranks, on the same cores; links by `plan` under mpirun. Needs root, iproute2 and OpenMPI; changes nothing outside its
namespaces."""

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
TRIES, MOST_DRIFT = 2, 0.08
CASES = {"decode, 1 user": ("--tg", 1), "decode, 8 users": ("--tg", 8), "prefill 512": ("--pp", 1)}


def run(command, **options):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)
    if result.returncode != 0:
        sys.exit(f"check_scaling: {' '.join(command)} failed: {(result.stderr or result.stdout).strip()[-2000:]}")
    return result.stdout


def core(host):
    cores = sorted(os.sched_getaffinity(0))
    return str(cores[host % len(cores)])


class Hosts:
    """Two namespaces that stand for hosts, while it is entered."""

    def __init__(self):
        self.names = [f"ms{os.getpid()}h{idx}" for idx in range(2)]
        self.folder = tempfile.TemporaryDirectory()

    def __enter__(self):
        one, other = self.names
        for name in self.names:
            run(["ip", "netns", "add", name])
        run(["ip", "link", "add", "name", "eth", "netns", one, "type", "veth", "peer", "name", "eth", "netns", other])
        for idx, name in enumerate(self.names):
            run(["ip", "-n", name, "addr", "add", f"{NETWORK}.{idx + 1}/24", "dev", "eth"])
            for device in ("lo", "eth"):
                run(["ip", "-n", name, "link", "set", device, "up"])
        agent = Path(self.folder.name) / "agent"  # in place of ssh: AGENT ADDRESS COMMAND..
        agent.write_text(f'#!/bin/sh\nshift\nexec {" ".join(self.enter(1))} "hostname {other}; $*"\n')
        agent.chmod(0o755)
        return self

    def __exit__(self, *error):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)
        self.folder.cleanup()

    def enter(self, idx):
        return ["ip", "netns", "exec", self.names[idx], "taskset", "-c", core(idx), "unshare", "--uts", "sh", "-c"]

    def limit(self, mbit):
        """The rate of the link in both directions."""
        for name in self.names:
            run(["tc", "-n", name, "qdisc", "replace", "dev", "eth", "root", "tbf", "rate", f"{mbit}mbit", "burst", "16kb", "latency", "200ms"])

    def mpirun(self, mesh, command, environment):
        on_host = devices(mesh) // 2
        network = f"{NETWORK}.0/24"
        passed = [word for name in environment for word in ("-x", name)]
        launcher = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", str(devices(mesh)), "-H", f"{NETWORK}.1:{on_host},{NETWORK}.2:{on_host}",
                    "--mca", "plm_rsh_agent", f"{self.folder.name}/agent", "--mca", "oob_tcp_if_include", network, "--mca", "btl_tcp_if_include", network]
        return run(self.enter(0) + [f'hostname {self.names[0]}; exec "$@"', "sh"] + launcher + passed + command, env=os.environ | environment)


def sides(mesh):
    rows, cols = mesh.split("x")
    return int(rows), int(cols)


def devices(mesh):
    rows, cols = sides(mesh)
    return rows * cols


def bench_flags(case, rows=1):
    """For one of so many rows: its share of the users."""
    flag, users = CASES[case]
    batch = -(-users // rows)
    return ["--pp", "512", "--tg", "0"] if flag == "--pp" else ["--pp", "0", "--tg", str(TOKENS), "--batch", str(batch)]


def bench(arguments):
    return [arguments.program, "bench"] + model(arguments) + ["--threads", "1", "--reps", str(arguments.reps), "--calibration-size", "64", "--json"]


def model(arguments):
    return MODEL + ["--num-layers", str(arguments.num_layers)] + (["--deterministic"] if arguments.deterministic else [])


def make_stores(arguments, mesh):
    """In the cache, so that no rank has to."""
    for shape in ("1x1", mesh):
        run(bench(arguments) + ["--mesh", shape, "--pp", "1", "--tg", "0"])


def device_figures(arguments, mesh, case):
    """Of one of as many devices as the mesh has, which all do the same at the same time, each with the whole model and the users of a row."""
    rows, _ = sides(mesh)
    command = bench(arguments) + bench_flags(case, rows)
    runs = [subprocess.Popen(["taskset", "-c", core(rank)] + command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for rank in range(devices(mesh))]
    tests = []
    for one in runs:
        output, error = one.communicate()
        if one.returncode != 0:
            sys.exit(f"check_scaling: {' '.join(command)} failed: {error.strip()}")
        tests.append(json.loads(output)["rows"][0])
    return {name: statistics.mean(test[name] for test in tests) for name in ("tok_s", "read_gb_s", "bf16_tflop_s", "int16_top_s", "int8_top_s", "share")}


def predict(arguments, hosts, mesh, case, device, environment):
    """By plan, which measures the links; a host has several devices like this one."""
    _, users = CASES[case]
    command = [arguments.program, "plan"] + model(arguments) + ["--mesh", mesh, "--ctx", str(2 * TOKENS), "--batch", str(users), "--json"]
    for name in ("read_gb_s", "bf16_tflop_s", "int16_top_s", "int8_top_s"):
        if device[name] > 0:  # not every machine multiplies int16
            command += ["--" + name.replace("_", "-"), str(device[name] * devices(mesh) / 2)]
    return json.loads(hosts.mpirun(mesh, command + ["--memory-share", str(device["share"]), "--compute-share", str(device["share"])], environment))


def compare(arguments, hosts, mesh, case, link, environment):
    """A row of the table. A mesh runs between two rounds of its devices alone; where the machine has changed its speed meanwhile, all is measured again."""
    after = device_figures(arguments, mesh, case)
    for _ in range(TRIES):
        before = after
        measured = json.loads(hosts.mpirun(mesh, bench(arguments) + ["--mesh", mesh] + bench_flags(case), environment))["rows"][0]["tok_s"]
        after = device_figures(arguments, mesh, case)
        if abs(after["tok_s"] / before["tok_s"] - 1.0) <= MOST_DRIFT:
            break
    else:
        print(f"check_scaling: {case} on {mesh}: the machine does not keep its speed", file=sys.stderr)
    device = {name: (before[name] + after[name]) / 2.0 for name in after}
    plan = predict(arguments, hosts, mesh, case, device, environment)
    rates, one = plan["rates"], plan["prefill" if case.startswith("prefill") else "decode"]
    print(f"| {mesh} | {link} | {rates['link_latency_us']:.0f} us, {rates['link_message_us']:.0f} us, {rates['link_gbit_s']:.2f} Gbit/s | {case} |"
          f" {device['tok_s']:.1f} | {measured:.1f} | {one['tok_s']:.1f} | {100.0 * (one['tok_s'] / measured - 1.0):+.0f} % |"
          f" {1e3 * max(one['read_s'], one['compute_s']):.1f} + {1e3 * one['link_s']:.1f} |", flush=True)


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
        if devices(mesh) % 2 != 0:
            sys.exit(f"check_scaling: {mesh} cannot be shared out over two hosts; expected an even number of devices")
        make_stores(arguments, mesh)
        links = [] if arguments.no_plain else [("as it is", None, {})]
        links += [(f"delay {delay} us", None, {"MESHSEEK_TEST_LINK_DELAY_US": str(delay)}) for delay in numbers(arguments.delays)]
        links += [(f"{rate} Mbit/s", rate, {}) for rate in numbers(arguments.rates)]
        with Hosts() as hosts:
            for name, rate, environment in links:
                if rate is not None:
                    hosts.limit(rate)
                for case in arguments.cases:
                    compare(arguments, hosts, mesh, case, name, environment)
    return 0


if __name__ == "__main__":
    sys.exit(main())
