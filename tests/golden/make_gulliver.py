#!/usr/bin/env python3
"""make_gulliver: the golden curve that a GPU's float32 run is held against, from
runs of the cpu backend on the real text, and how far such runs drift apart by
rounding alone. Writes gulliver_curve.json to standard output.

    usage: make_gulliver.py SPEC BATCH PLAIN PERTURBED...

SPEC is the gulliver preset with precision fp32, BATCH what tests/gpu/batch.c prints
of it, PLAIN the lines of `tokenfate-trainer < SPEC`, each PERTURBED those of
tests/golden/perturbed_trainer.c with another seed.

envelope[e] is the largest distance of a group's mean log p in a perturbed run from
the plain run at any epoch up to e.
"""
import json
import sys

DIGITS = 6


def load(path):
    start, epochs = None, []
    for line in open(path):
        record = json.loads(line)
        if record.get("type") == "started":
            start = record
        if "loss" in record:
            epochs.append(record)
    if [record["epoch"] for record in epochs] != list(range(501)):
        sys.exit(f"{path} is no run of 500 epochs")
    return start, epochs


def means(record):
    return {name: group["mean_logp"]["none"] for name, group in record["groups"].items()}


def main(spec_path, batch_path, plain_path, *perturbed_paths):
    if not perturbed_paths:
        sys.exit(__doc__)
    start, plain = load(plain_path)
    others = [load(path)[1] for path in perturbed_paths]
    batch = json.load(open(batch_path))
    widest, envelope = 0, []
    for epoch, record in enumerate(plain):
        here = means(record)
        for other in others:
            there = means(other[epoch])
            widest = max([widest] + [abs(here[name] - there[name]) for name in here])
        envelope.append(round(widest, DIGITS))
    made = {key: start[key] for key in ("device", "isa", "threads", "precision", "build")}
    golden = {
        "spec": json.load(open(spec_path)), "made": {**made, "perturbed_runs": len(others), "perturbation": 1e-7},
        "tokens": batch["tokens"], "stream_sha256": batch["stream_sha256"], "groups": batch["groups"],
        "loss": [round(record["loss"], DIGITS) for record in plain],
        "mean_logp": {name: [round(means(record)[name], DIGITS) for record in plain] for name in means(plain[0])},
        "envelope": envelope,
    }
    print("{" + ",\n".join(f'"{key}":{json.dumps(value, separators=(",", ":"))}' for key, value in golden.items()) + "}")


main(*sys.argv[1:])
