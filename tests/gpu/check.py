#!/usr/bin/env python3
"""check: everything that is to be true of the CUDA backend on a real GPU. Each check
is a process of its own with a time limit; a failure ends only itself; every result
is on disk as soon as it is known; a last line counts them. Runs from the folder of
the kit (`make gpu-kit`), which holds all it needs: a machine with a GPU may be bare.

    usage: check.py [--out DIR] [--only TEXT]... [--jobs N] [--seconds N] [--resume] [--quick]

  --out      folder of check.jsonl (.)
  --only     the checks whose names contain TEXT
  --jobs     checks at a time (4)
  --seconds  end by then: what has not, is skipped (570)
  --resume   leave out what check.jsonl has passed or failed already
  --quick    small shapes alone: for the stand-in for a card that the tests have

Without a device it says so, with the reason, and ends with status 0; with one that the
backend cannot use, with status 1.
"""
import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import kit
from kit import Failed, Skipped, now, path

NEAR = 0.02  # nats: how near the golden curve is followed while rounding has not spread:
SPREAD = 0.01  # nats: while runs of the cpu that differ by rounding alone are this near to each other
SANITIZER_FAILED = 87
CLEAN = re.compile(r"\w+ SUMMARY: 0 (errors|hazards)\b.*")
LEAST_SECONDS = 5  # with less left no check is begun
ALONE = ("devices", "memory beside a job")  # before the others, one after the other
SANITIZED = ("small", "tensor", "wide")  # shapes of whole models that compute-sanitizer sees


# ---- runs of the trainer ----

def trainer(*arguments):
    return [path("tokenfate-trainer"), "--device", "cuda:0", "--share", path("share"), "--corpus-path", path("corpora"),
            *arguments]


def parse(out):
    """Epoch records by number, without what two equal runs may differ in, and the other lines."""
    records, others = {}, []
    for line in out.splitlines():
        record = json.loads(line)
        if "loss" not in record:
            others.append(record)
            continue
        del record["tokens_per_second"]
        records[record["epoch"]] = record
    return records, others


def train(spec, seconds, *arguments):
    records, others = parse(kit.run(trainer(*arguments), seconds, json.dumps(spec)))
    if sorted(records) != list(range(spec["train"]["epochs"] + 1)):
        raise Failed(f"records of {len(records)} epochs; {others[-1:]}")
    return records, others


def gulliver(quick, epochs, precision, **changes):
    small = {"model__d_model": 8, "model__n_layers": 1, "model__n_heads": 1, "model__seq_len": 4, "train__batch_size": 1}
    if quick:
        changes = {**changes, **small}
    return kit.with_text(kit.preset("gulliver", train__epochs=epochs, train__precision=precision, **changes))


def study(quick, epochs, precision):
    """The study in short: a fraction of its layers and windows, heads of 64 as it has them."""
    part = {"model__d_model": 128, "model__n_heads": 2, "model__n_layers": 2, "train__batch_size": 4}
    if quick:
        part = {**part, "model__d_model": 64, "model__n_heads": 1, "model__n_layers": 1, "model__seq_len": 4, "train__batch_size": 1}
    return kit.with_text(kit.preset("gulliver-study", train__epochs=epochs, train__precision=precision, **part))


def digest(file):
    with open(file, "rb") as data:
        return hashlib.sha256(data.read()).hexdigest()


# ---- the checks ----

def devices(_):
    lines = [json.loads(line) for line in kit.run(trainer("--devices"), 120).splitlines()]
    card = next(line for line in lines if line["id"] == "cuda:0")
    if not card["available"]:
        raise Failed(card["reason"])
    unknown = [key for key in ("driver", "temperature", "utilisation") if card[key] in ("", -1)]
    if unknown:
        raise Failed(f"not known: {', '.join(unknown)}; {card}")
    return json.dumps(card)


def operation(name, precision):
    return lambda _: kit.run([path("cuda_ops"), name, precision], 300).strip()


def model(what, precision, shape):
    return lambda _: kit.run([path("cuda_model"), what, precision, shape], 400).strip()


def series(_):
    """One process, as a trainer lives across jobs: many shapes, both precisions, evaluations."""
    return kit.run([path("cuda_jobs"), "series"], 400).strip()


def long_products(precision):
    return lambda quick: kit.run([path("cuda_jobs"), "long", precision, *(["1"] if quick else [])], 400).strip()


def same_bits(make, precision):
    def check(quick):
        spec = make(quick, 5 if quick else 100, precision)
        (one, _), (two, _) = train(spec, 200), train(spec, 200)
        for epoch in one:
            if one[epoch] != two[epoch]:
                raise Failed(f"epoch {epoch} differs")
        return f"{len(one)} records twice, final loss {one[max(one)]['loss']:.6f}"
    return check


def resume(make, precision):
    """Killed without warning in the middle and continued: no record and no bit differs."""
    def check(quick):
        last = 12 if quick else 40
        spec = make(quick, last, precision)
        with tempfile.TemporaryDirectory() as folder:
            whole, broken = os.path.join(folder, "whole"), os.path.join(folder, "broken")
            expected, _ = train(spec, 200, "--dir", whole)
            process = subprocess.Popen(trainer("--dir", broken, "--checkpoint-seconds", "0"), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True, env=kit.ENV)
            watchdog = threading.Timer(200, process.kill)
            watchdog.start()
            process.stdin.write(json.dumps(spec))
            process.stdin.close()
            before = []
            for line in process.stdout:
                before.append(line)
                message = json.loads(line)
                if message.get("type") == "checkpointed" and message["epoch"] >= last // 3:
                    process.send_signal(signal.SIGKILL)
                    break
            process.wait()
            watchdog.cancel()
            first, _ = parse("".join(before))
            later, others = parse(kit.run(trainer("--dir", broken, "--resume"), 200, json.dumps(spec)))
            if not later or min(later) == 0:
                raise Failed(f"it was not continued: {others}")
            got = {**first, **later}
            differs = [epoch for epoch in expected if got.get(epoch) != expected[epoch]]
            if differs or len(got) != len(expected):
                raise Failed(f"{len(got)} of {len(expected)} records, the first that differs: {differs[:1]}")
            name = f"epoch-{last:07d}.safetensors"
            if digest(os.path.join(whole, "model", name)) != digest(os.path.join(broken, "model", name)):
                raise Failed("the last model differs")
            return f"killed at epoch {max(first)}, continued at {min(later)}: same records, same model"
    return check


def memory(quick):
    """What the driver takes beside a job is within what jobs are admitted by; alone on the card."""
    return kit.run([path("cuda_model"), "memory", "bf16", "small" if quick else "gulliver"], 200).strip()


def golden(_):
    """float32 follows the cpu's curve within NEAR as long as runs of the cpu that differ by
    rounding alone have not drifted SPREAD apart. Later there is nothing to hold it to: how far
    it went is reported, beside how far three such runs did."""
    with open(path("gulliver_curve.json")) as file:
        expected = json.load(file)
    text = kit.text_path()
    if not text:
        raise Skipped("the text is not here")
    spec = expected["spec"]
    batch = json.loads(kit.run([path("batch"), path("share"), text], 60, json.dumps(spec)))
    for key in ("stream_sha256", "tokens", "groups"):
        if batch[key] != expected[key]:
            raise Failed(f"{key} is not the golden file's: another text or tokenizer")
    records, _ = train(spec, 400)
    return golden_words(expected, records)


def golden_words(expected, records):
    """expected: of the golden file. What is to be said of records beside it; else Failed."""
    envelope = expected["envelope"]
    last = len(envelope) - 1
    strict = next((epoch for epoch in range(last) if envelope[epoch + 1] > SPREAD), last)
    widest, furthest = [], (0, strict)
    for epoch in range(last + 1):
        distances = {name: abs(records[epoch]["groups"][name]["mean_logp"]["none"] - curve[epoch])
                     for name, curve in expected["mean_logp"].items()}
        name = max(distances, key=distances.get)
        if epoch <= strict and not distances[name] <= NEAR:
            raise Failed(f"epoch {epoch}, {name}: {distances[name]:.4f} from the cpu's curve, allowed {NEAR}")
        if epoch > strict:
            furthest = max(furthest, (distances[name] / envelope[epoch], epoch))
        widest.append(max(distances[name], widest[-1] if widest else 0))
    until = max(epoch for epoch in range(last + 1) if widest[epoch] <= NEAR)
    return (f"{widest[strict]:.4f} up to epoch {strict}, to which it is judged; within {NEAR} up to {until}, "
            f"{widest[min(100, last)]:.4f} up to {min(100, last)}, {widest[last]:.4f} up to {last}; at most {furthest[0]:.2f} times "
            f"as far as three perturbed runs of the cpu, at epoch {furthest[1]}")


def refusal(_):
    """A model that cannot fit is refused before it starts, with the numbers."""
    spec = gulliver(False, 1, "bf16", model__d_model=8192, model__n_layers=128, model__n_heads=64)
    process = subprocess.run(trainer(), input=json.dumps(spec), capture_output=True, text=True, timeout=200, env=kit.ENV)
    _, others = parse(process.stdout)
    if process.returncode == 0 or not others or others[-1].get("code") != "no_memory":
        raise Failed(f"status {process.returncode}: {kit.tail(process.stdout + process.stderr)}")
    if sum(word.isdigit() for word in others[-1]["text"].split()) < 2:
        raise Failed(f"without the numbers: {others[-1]['text']}")
    return others[-1]["text"]


def export(name, **changes):
    """An exported model, loaded by transformers, says of a batch what the last record says."""
    def check(quick):
        if subprocess.run([sys.executable, "-c", "import torch, transformers"], capture_output=True, env=kit.ENV).returncode:
            raise Skipped("torch and transformers are not here")
        if not kit.text_path():
            raise Skipped("the text is not here")
        spec = gulliver(quick, 3 if quick else 30, "fp32", **changes)
        last = spec["train"]["epochs"]
        with tempfile.TemporaryDirectory() as folder:
            records, _ = train(spec, 200, "--dir", folder)
            batch = kit.run([path("batch"), path("share"), kit.text_path(), str(last)], 60, json.dumps(spec))
            shutil.copy(os.path.join(folder, "model", f"epoch-{last:07d}.safetensors"),
                        os.path.join(folder, "model", "model.safetensors"))
            said = json.loads(kit.run([sys.executable, path("export_check.py"), os.path.join(folder, "model"),
                                       str(spec["model"]["seq_len"])], 300, batch))
        record = records[last]
        pairs = [("loss", said["loss"], record["loss"]), ("log Z", said["log_z"], record["log_z"])]
        pairs += [(group, said["groups"][group], record["groups"][group]["mean_logp"]["none"]) for group in said["groups"]]
        for what, theirs, here in pairs:
            if not abs(theirs - here) < 1e-4:
                raise Failed(f"{name}, {what}: transformers {theirs}, here {here}")
        return f"transformers {said['version']}: " + ", ".join(f"{what} {abs(a - b):.1e} apart" for what, a, b in pairs)
    return check


def sanitizer(tool, *program):
    def check(_):
        found = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
        if not found:
            raise Skipped("compute-sanitizer is not here")
        try:
            out = kit.run([found, "--tool", tool, "--error-exitcode", str(SANITIZER_FAILED), *program], 400)
        except Failed as reason:
            if "not supported" in reason.said:
                raise Skipped(f"compute-sanitizer does not work here: {reason}") from None
            raise
        clean = CLEAN.search(out)  # its status knows nothing of hazards that it calls warnings
        if not clean:
            raise Failed(kit.tail(out))
        return clean.group()
    return check


def all_checks(quick):
    names = kit.run([path("cuda_ops"), "list"], 60).split()
    shapes = kit.run([path("cuda_model"), "list"], 60).split()
    both = ("fp32", "bf16")
    yield "devices", devices
    yield "memory beside a job", memory
    for precision in both:
        for name in names:
            yield f"operation {name} {precision}", operation(name, precision)
    for precision in both:
        for shape in ("small",) if quick else shapes:
            yield f"gradient {shape} {precision}", model("gradient", precision, shape)
            yield f"repeat {shape} {precision}", model("repeat", precision, shape)
    for precision in both:
        yield f"same bits twice {precision}", same_bits(gulliver, precision)
        yield f"resume after a kill {precision}", resume(gulliver, precision)
    yield "many shapes in one trainer", series
    for precision in both:
        yield f"long products {precision}", long_products(precision)
    yield "same bits twice study bf16", same_bits(study, "bf16")
    yield "resume after a kill study bf16", resume(study, "bf16")
    if not quick:
        yield "golden curve fp32", golden
    yield "too large is refused", refusal
    yield "export tied", export("tied")
    yield "export untied", export("untied", model__tie="untied_equal", model__logit_scale="inv_sqrt_d")
    tools = ("memcheck", "racecheck")
    for tool in tools:
        for precision in both:
            for shape in SANITIZED:
                yield f"{tool} model {shape} {precision}", sanitizer(tool, path("cuda_model"), "repeat", precision, shape)
    for tool in tools:
        for name in names:
            yield f"{tool} {name}", sanitizer(tool, path("cuda_ops"), name, "bf16", "1")


# ---- running them ----

class Runner:
    def __init__(self, options, results, checks):
        self.options, self.results, self.checks = options, results, checks
        self.lock, self.next = threading.Lock(), 0

    def one(self, name, check):
        begin, result = now(), "passed"
        try:
            if begin > kit.DEADLINE - LEAST_SECONDS:
                raise Skipped(f"not started within {self.options.seconds} s")
            detail = check(self.options.quick)
        except Skipped as reason:
            result, detail = "skipped", str(reason)
        except Failed as reason:
            result, detail = "failed", str(reason)
        except Exception as reason:  # whatever it is, the other checks go on
            result, detail = "failed", f"{type(reason).__name__}: {reason}"
        return {"name": name, "result": result, "seconds": round(now() - begin, 1), "detail": detail}

    def work(self):
        while True:
            with self.lock:
                if self.next == len(self.checks):
                    return
                name, check = self.checks[self.next]
                self.next += 1
            line = self.one(name, check)
            with self.lock:
                self.results.add(line)
                print(f"{line['result']:7} {line['seconds']:6.1f} s  {name}: {line['detail']}", flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--out", default=".")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=570)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    kit.DEADLINE = now() + options.seconds
    try:
        device = kit.probe()
    except Skipped as reason:
        print(f"no device: {reason}\n0 passed, 0 failed, 0 skipped")
        return 0
    except Failed as reason:
        print(f"{reason}\n0 passed, 1 failed, 0 skipped")
        return 1
    print(f"device: {device}", flush=True)
    results = kit.Results(os.path.join(options.out, "check.jsonl"), "name")
    done = results.load() if options.resume else results.start() or set()
    checks = [(name, check) for name, check in all_checks(options.quick)
              if name not in done and (not options.only or any(word in name for word in options.only))]
    Runner(options, results, [one for one in checks if one[0] in ALONE]).work()
    runner = Runner(options, results, [one for one in checks if one[0] not in ALONE])
    threads = [threading.Thread(target=runner.work) for _ in range(max(1, options.jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = {word: sum(line["result"] == word for line in results.lines) for word in ("passed", "failed", "skipped")}
    for line in results.lines:
        if line["result"] == "failed":
            print(f"FAILED {line['name']}: {line['detail']}")
    print(", ".join(f"{n} {word}" for word, n in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
