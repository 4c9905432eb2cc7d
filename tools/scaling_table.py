#!/usr/bin/env python3
"""Computes the tables of docs/scaling.md with `meshseek plan`, and writes them there, or with --check compares."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

BEGIN, END = "<!-- tables -->\n", "<!-- end of tables -->\n"
MESHES = {1: "1x1", 2: "1x2", 4: "1x4", 8: "1x8", 16: "2x8", 32: "4x8", 64: "8x8"}
LINKS = {25: 20, 100: 10, 400: 5}  # Gbit/s: latency in microseconds
HOST = ["--read-gb-s", "200", "--bf16-tflop-s", "20", "--int8-top-s", "40"]
MODELS = {"v2-lite": "V2-Lite", "v3": "V3"}


def plan(program, model, hosts, gbit, batch):
    command = [program, "plan", "--synthetic", model, "--mesh", MESHES[hosts], "--hosts", str(hosts), "--batch", str(batch), "--json",
               "--link-gbit", str(gbit), "--link-latency-us", str(LINKS[gbit]), "--link-message-us", "1"] + HOST
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rate(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def table(program, model):
    links = " / ".join(str(gbit) for gbit in LINKS)
    lines = [f"**{MODELS[model]}**, tokens/s with links of {links} Gbit/s", "",
             "| hosts | mesh | GB of weights | decode, 1 user | decode, 32 users | prefill 512 | kB sent per token, 1 user |",
             "|---:|---|---:|---:|---:|---:|---:|"]
    for hosts, mesh in MESHES.items():
        one = [plan(program, model, hosts, gbit, 1) for gbit in LINKS]
        many = [plan(program, model, hosts, gbit, 32) for gbit in LINKS]
        sent = one[0]["decode"]["row_link_bytes_per_token"] + one[0]["decode"]["col_link_bytes_per_token"]
        cells = [" / ".join(rate(result[test]["tok_s"]) for result in results)
                 for results, test in ((one, "decode"), (many, "decode"), (one, "prefill"))]
        lines.append(f"| {hosts} | {mesh} | {one[0]['weight_bytes'] / 1e9:.1f} | {' | '.join(cells)} | {sent / 1e3:.0f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="the meshseek program")
    parser.add_argument("--check", action="store_true", help="only compare")
    arguments = parser.parse_args()
    page = Path(__file__).resolve().parent.parent / "docs" / "scaling.md"
    text = page.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    new = head + BEGIN + "\n" + "\n".join(table(arguments.program, model) for model in MODELS) + "\n" + END + tail
    if arguments.check and new != text:
        print(f"{page} is not what plan computes; run tools/scaling_table.py {arguments.program}")
        return 1
    if not arguments.check:
        page.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
