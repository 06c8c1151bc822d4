#!/usr/bin/env python3
"""bench: training steps of the CUDA backend on a real GPU beside PyTorch on the same
shapes and beside what the card could do at best. Contenders take turns on the card in
blocks; a figure is the median of its blocks. Our steps include the statistics of every
epoch, PyTorch's have none. Every result is on disk as soon as it is known; at the end
comes a table of all. Runs from the folder of the kit (`make gpu-kit`).

    usage: bench.py [--out DIR] [--only TEXT]... [--seconds N] [--resume] [--tiny]

  --out      folder of bench.jsonl and bench.json (.)
  --only     the measurements whose names contain TEXT
  --seconds  start none that might not end by then (570)
  --resume   leave out what bench.jsonl has measured or failed already
  --tiny     shapes of a few numbers, to try the script where there is no card

Floor of a step: max(operations / 790e12, bytes / 4.3e12), the rates of a large bf16
product and of a copy on an H200; on an H100 SXM, which has the same tensor cores and slower
memory, 790e12 and 3.0e12. On any other card no floor is known, and none is told. Operations:
6 for each weight of a product and token, and 6 T C a layer for causal attention. Bytes: 38
for each parameter (AdamW reads and writes three float32, a gradient goes and comes, a bf16
copy is written once and read twice), and for each token and layer 16 C activations, written
once, read twice, and their gradients, written and read once, 2 bytes each. Logits count
nothing.
"""
import argparse
import csv
import io
import json
import os
import re
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import kit
from kit import Failed, Skipped, now, path

# By the names that drivers give: operations a second of a large bf16 product, bytes a second of
# a copy, and the bf16 operations a second that NVIDIA states.
CARDS = {"NVIDIA H200": (790e12, 4.3e12, 989e12), "NVIDIA H100 80GB HBM3": (790e12, 3.0e12, 989e12)}
PADDED = 50304
ROUNDS, BLOCK_SECONDS, MOST_STEPS = 5, 0.4, 20000
GIB = 64
MODES = {"eager": 90, "default": 150, "reduce-overhead": 150, "max-autotune": 210}  # seconds to be ready
AHEAD = 24  # steps that are not timed while the first results are awaited
PROFILE_SECONDS = 150
REFUSAL = re.compile(r"==ERROR== (?!The application).*")  # of ncu itself, not of what it looks at
WHOLE_RUN_SECONDS = 60
BATCHES = (64, 56, 48, 40, 32, 24, 16, 8)
# What is likely to be a shape's best mode comes first: the time may not suffice for all.
BESIDE = (("gulliver", "reduce-overhead"), ("study", "default"), ("gpt2", "default"), ("study", "reduce-overhead"),
          ("gulliver", "default"), ("gpt2", "max-autotune"), ("study", "max-autotune"), ("gpt2", "reduce-overhead"),
          ("gulliver", "max-autotune"), ("study", "eager"), ("gpt2", "eager"), ("gulliver", "eager"))


class Contender:
    """A process that does N steps when told to, and says how long they took."""

    def __init__(self, name, command, ready_seconds):
        self.name, self.log = name, tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=kit.ENV)
        self.rest = b""
        self.times, self.steps = [], 0
        try:
            self.about = self.answer(ready_seconds)
        except Failed:
            self.close()
            raise

    def answer(self, seconds):
        end = now() + seconds
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - now()))
            if not ready:
                raise Failed(f"{self.name} said nothing for {seconds} s")
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                self.process.wait()
                self.log.seek(0)
                raise Failed(f"{self.name} ended with status {self.process.returncode}: {kit.tail(self.log.read())}")
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def block(self, steps):
        try:
            self.process.stdin.write(b"%d\n" % steps)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # answer says how it ended
        return self.answer(120)["seconds"] / steps

    def prepare(self):
        """As many steps as take BLOCK_SECONDS."""
        once = self.block(3)
        self.steps = max(3, min(MOST_STEPS, int(BLOCK_SECONDS / self.block(max(3, min(1000, int(0.1 / once)))))))

    def turn(self):
        self.times.append(self.block(self.steps))

    def median(self):
        return statistics.median(self.times)

    def close(self):
        try:
            self.process.stdin.close()
        except OSError:
            pass  # it ended with an order unread
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


def take_turns(contenders):
    for contender in contenders:
        contender.prepare()
    for _ in range(ROUNDS):
        for contender in contenders:
            contender.turn()


class Shape:
    def __init__(self, name, spec):
        self.name, self.spec, model = name, spec, spec["model"]
        self.C, self.L, self.NH, self.T = (model[key] for key in ("d_model", "n_layers", "n_heads", "seq_len"))
        self.is_tied = model["tie"] == "tied"
        self.B = spec["train"]["batch_size"]

    def set_batch(self, batch):
        self.B = self.spec["train"]["batch_size"] = batch

    def tokens(self):
        return self.B * self.T

    def work(self):
        """Operations and bytes of a step."""
        products = 12 * self.L * self.C**2 + PADDED * self.C
        parameters = products + (0 if self.is_tied else PADDED * self.C) + self.T * self.C
        operations = self.tokens() * (6 * products + 6 * self.L * self.T * self.C)
        moved = 38 * parameters + self.tokens() * self.L * 16 * self.C * (3 + 2) * 2
        return operations, moved

    def ours(self, steps_per_epoch=1):
        spec = json.loads(json.dumps(self.spec))
        spec["train"].update(steps_per_epoch=steps_per_epoch, epochs=1000000, precision="bf16")
        file = os.path.join(FOLDER, f"{self.name}-{self.B}-{steps_per_epoch}.json")
        with open(file, "w") as out:
            json.dump(spec, out)
        command = [path("step_timer"), path("share"), kit.text_path() or "", "cuda:0", file, str(AHEAD)]
        return Contender("tokenfate", command, 90)

    def peer(self, mode):
        numbers = (self.C, self.L, self.NH, self.T, self.B, int(self.is_tied), GIB)
        return Contender(f"torch {mode}", [sys.executable, path("peer.py"), mode, *map(str, numbers)], MODES[mode])


def shapes(is_tiny):
    def of(name, preset, **changes):
        tiny = {"model__d_model": 8, "model__n_layers": 1, "model__n_heads": 1, "model__seq_len": 4, "train__batch_size": 1}
        if is_tiny:
            changes["groups__size"] = 2
        return Shape(name, kit.with_text(kit.preset(preset, **({**changes, **tiny} if is_tiny else changes))))
    return [of("gulliver", "gulliver"), of("study", "gulliver-study"),
            of("gpt2", "gulliver-study", model__seq_len=1024, model__tie="tied", model__logit_scale=1.0)]


# ---- measurements: each returns a dictionary ----

def needs_torch():
    if subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, env=kit.ENV).returncode:
        raise Skipped("torch is not here")


def largest_batch(shape):
    """The largest batch with which both fit in GIB; our bytes are linear in it from 2 on, where
    the logits of a chunk are as many as they get."""
    def bytes_of(batch):
        shape.set_batch(batch)
        contender = shape.ours()
        contender.close()
        return contender.about["bytes"]
    two, three = bytes_of(2), bytes_of(3)
    for batch in BATCHES:
        shape.set_batch(batch)
        ours = two + (batch - 2) * (three - two)
        if ours > GIB * 2**30:
            continue
        try:
            needs_torch()
            shape.peer("eager").close()
        except Failed as reason:
            if "memory" in str(reason):
                continue
            return {"batch": batch, "our_bytes": ours, "peer": str(reason)}
        except Skipped as reason:
            return {"batch": batch, "our_bytes": ours, "peer": str(reason)}
        return {"batch": batch, "our_bytes": ours, "peer": "fits"}
    raise Failed(f"no batch fits in {GIB} GiB")


def beside_card(operations, moved, step):
    """What the card could do at best; nothing where that is not known."""
    if CARD not in CARDS:
        return {}
    products, copies, peak = CARDS[CARD]
    floor = max(operations / products, moved / copies)
    return {"floor_seconds": floor, "floor_fraction": floor / step, "peak_fraction": operations / step / peak}


def alone(shape):
    """With the statistics of every step, and with none."""
    with_all, without = shape.ours(), shape.ours(steps_per_epoch=1000000)
    try:
        take_turns([with_all, without])
        operations, moved = shape.work()
        step = with_all.median()
        return {"batch": shape.B, "seconds": step, "tokens_per_second": shape.tokens() / step, **beside_card(operations, moved, step),
                "flops": operations / step, "moved_bytes": moved,
                "statistics_share": 1 - without.median() / step, "blocks": with_all.times, **with_all.about}
    finally:
        with_all.close()
        without.close()


def beside(shape, mode):
    needs_torch()
    peer = shape.peer(mode)
    try:
        ours = shape.ours()
        try:
            take_turns([ours, peer])
        finally:
            ours.close()
        return {"batch": shape.B, "seconds": ours.median(), "tokens_per_second": shape.tokens() / ours.median(),
                "peer_seconds": peer.median(), "peer_tokens_per_second": shape.tokens() / peer.median(),
                "ratio": peer.median() / ours.median(), "blocks": ours.times, "peer_blocks": peer.times, "peer": peer.about}
    finally:
        peer.close()


def whole_run(shape, is_tiny):
    """The preset from its first record to its last, as a user meets it."""
    spec = dict(shape.spec, train=dict(shape.spec["train"], precision="bf16", epochs=3 if is_tiny else 500))
    command = [path("tokenfate-trainer"), "--device", "cuda:0", "--share", path("share"), "--corpus-path", path("corpora")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=kit.ENV)
    watchdog = threading.Timer(WHOLE_RUN_SECONDS, process.kill)
    watchdog.start()
    began, records, last = None, 0, {}
    try:
        process.stdin.write(json.dumps(spec))
        process.stdin.close()
        for line in process.stdout:
            last = json.loads(line)
            began = time.monotonic() if last.get("type") == "started" else began
            records += "loss" in last
        if process.wait() != 0 or last.get("type") != "done":
            raise Failed(f"{records} records, then {last}")
        return {"records": records, "seconds": time.monotonic() - began}
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()


def profile(command, spec):
    """What ncu says. Where it cannot start or may not count, Skipped: that is the machine's."""
    out = None
    try:
        out = said = kit.run(command, PROFILE_SECONDS, spec)
    except Failed as failure:
        said = failure.said
        if not said or "==PROF== " in said and not REFUSAL.search(said):
            raise
    refusal = REFUSAL.search(said)
    if refusal or not out:
        raise Skipped(f"ncu does not work here: {refusal.group() if refusal else kit.tail(said)}")
    return out


def breakdown(shape):
    """Time by kernel over a few steps, from the profiler's counters."""
    profiler = shutil.which("ncu") or shutil.which("ncu", path="/usr/local/cuda/bin:/opt/nvidia/nsight-compute")
    if not profiler:
        raise Skipped("ncu is not here")
    steps = 3
    spec = dict(shape.spec, train=dict(shape.spec["train"], precision="bf16", epochs=steps - 1))
    command = [profiler, "--clock-control", "none", "--metrics", "gpu__time_duration.sum", "--csv", "--page", "raw",
               "--print-units", "base", path("tokenfate-trainer"), "--device", "cuda:0", "--share", path("share"),
               "--corpus-path", path("corpora")]
    out = profile(command, json.dumps(spec))
    lines = [line for line in out.splitlines() if line.startswith('"')]
    kernels = {}
    for row in csv.DictReader(io.StringIO("\n".join(lines))):
        if not row["ID"]:
            continue  # the line of units
        count, time_ns = kernels.get(row["Kernel Name"], (0, 0.0))
        kernels[row["Kernel Name"]] = (count + 1, time_ns + float(row["gpu__time_duration.sum"].replace(",", "")))
    if not kernels:
        raise Failed(f"the profiler named no kernel: {kit.tail(out)}")
    whole = sum(time_ns for _, time_ns in kernels.values())
    order = sorted(kernels.items(), key=lambda item: -item[1][1])
    return {"batch": shape.B, "steps": steps, "kernel_seconds_a_step": whole * 1e-9 / steps,
            "kernels": [{"name": name, "launches": count, "share": time_ns / whole} for name, (count, time_ns) in order]}


def measurements(options):
    """Name, seconds it may take, function."""
    small, study, gpt2 = all_shapes = shapes(options.tiny)

    def with_batch(measure, *more):
        """gpt2's batch is a measurement of its own."""
        def late():
            known = next((line for line in RESULTS.lines if line["name"] == "gpt2 batch" and "batch" in line), None)
            if not known:
                raise Skipped("its batch is not known")
            gpt2.set_batch(known["batch"])
            return measure(gpt2, *more)
        return late
    by_name = {shape.name: shape for shape in all_shapes}

    def kernels_of(shape):
        measure = with_batch(breakdown) if shape is gpt2 else lambda: breakdown(shape)
        return f"{shape.name} by kernel", PROFILE_SECONDS, measure
    yield "gulliver alone", 60, lambda: alone(small)
    yield "study alone", 60, lambda: alone(study)
    yield "study 501 epochs", WHOLE_RUN_SECONDS, lambda: whole_run(study, options.tiny)
    yield "gpt2 batch", 120, lambda: largest_batch(gpt2)
    yield "gpt2 alone", 60, with_batch(alone)
    for number, (name, mode) in enumerate(BESIDE):
        if number == 3:  # each shape has one peer by now: next is where our own time goes
            yield kernels_of(study)
        shape = by_name[name]
        measure = with_batch(beside, mode) if shape is gpt2 else lambda shape=shape, mode=mode: beside(shape, mode)
        yield f"{name} beside torch {mode}", MODES[mode] + 45, measure
    yield kernels_of(gpt2)
    yield kernels_of(small)


# ---- running them ----

def say(line):
    if "reason" in line:
        return f"{line['result']}: {line['reason']}"
    if "ratio" in line:
        return (f"{line['ratio']:.2f} x: {line['tokens_per_second']:.4g} tokens/s, {1e3 * line['seconds']:.3f} ms a step; "
                f"torch {line['peer_tokens_per_second']:.4g}, {1e3 * line['peer_seconds']:.3f} ms")
    if "statistics_share" in line:
        card = (f"{100 * line['floor_fraction']:.1f} % of the floor's speed, {100 * line['peak_fraction']:.1f} % of the peak"
                if "floor_fraction" in line else "no floor is known for this card")
        return (f"{line['tokens_per_second']:.4g} tokens/s, {1e3 * line['seconds']:.3f} ms a step, "
                f"{line['flops'] / 1e12:.1f} TFLOP/s, {card}, statistics {100 * line['statistics_share']:.1f} %")
    if "kernels" in line:
        most = ", ".join(f"{kernel['name'][:40]} {100 * kernel['share']:.1f} %" for kernel in line["kernels"][:8])
        return f"{1e3 * line['kernel_seconds_a_step']:.3f} ms of kernels a step: {most}"
    if "records" in line:
        return f"{line['records']} records in {line['seconds']:.2f} s"
    return f"batch {line['batch']}, {line['our_bytes'] / 2**30:.1f} GiB of ours; PyTorch: {line['peer']}"


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--out", default=".")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--seconds", type=int, default=570)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


def main(options):
    global CARD
    try:
        device = kit.probe()
    except Skipped as reason:
        print(f"no device: {reason}")
        return 0
    except Failed as reason:
        print(reason)
        return 1
    CARD = device.rsplit(", ", 1)[0]
    print(f"device: {device}", flush=True)
    done = RESULTS.load() if options.resume else RESULTS.start() or set()
    began = now()
    for name, at_most, measure in measurements(options):
        if name in done or (options.only and not any(word in name for word in options.only)):
            continue
        if now() - began + at_most > options.seconds:
            print(f"{name}: not started, it may take {at_most} s", flush=True)
            continue
        begin = now()
        try:
            line = {"result": "measured", **measure()}
        except Skipped as reason:
            line = {"result": "skipped", "reason": str(reason)}
        except Exception as reason:  # whatever it is, the other measurements go on
            line = {"result": "failed", "reason": f"{type(reason).__name__}: {reason}"}
        RESULTS.add({"name": name, **line, "took": round(now() - begin, 1)})
        print(f"{name}: {say(line)}", flush=True)
    with open(os.path.join(options.out, "bench.json"), "w") as file:
        json.dump({"device": device, "build": open(path("build-id")).read().strip(), "measurements": RESULTS.lines}, file, indent=1)
    print("\n" + "\n".join(f"{line['name']:34} {say(line)}" for line in RESULTS.lines))
    return 1 if any(line["result"] == "failed" for line in RESULTS.lines) else 0


if __name__ == "__main__":
    OPTIONS = arguments()
    if OPTIONS.tiny:
        ROUNDS, AHEAD, BATCHES = 2, 2, (4, 2)
    RESULTS = kit.Results(os.path.join(OPTIONS.out, "bench.jsonl"), "name")
    with tempfile.TemporaryDirectory() as FOLDER:
        sys.exit(main(OPTIONS))
