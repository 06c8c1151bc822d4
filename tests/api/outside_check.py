#!/usr/bin/python3
"""Recompute epoch records from outside: download a job's model and batch over
HTTP, run our own few lines of GPT-2 on them in double precision, and compare
loss, log Z and every group number that a checkpoint and a batch decide.

usage: outside_check.py URL JOB EPOCH...      exit status 0: all within 1e-4
"""
import json
import math
import os
import sys
import urllib.request

import torch

TOLERANCE = 1e-4
torch.set_default_dtype(torch.float64)


def get(url):
    request = urllib.request.Request(url)
    if os.environ.get("TOKENFATE_TOKEN"):
        request.add_header("Authorization", "Bearer " + os.environ["TOKENFATE_TOKEN"])
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read()


def tensors(data):
    """A safetensors file: header length, JSON header, numbers."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = bytearray(data[8 + length:])
    out = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        out[name] = torch.frombuffer(body, dtype=torch.float32, offset=begin, count=(end - begin) // 4)
        out[name] = out[name].reshape(entry["shape"]).double()
    return out


def gpt2_logits(w, config, ids):
    """GPT-2 (Radford et al. 2019), as Hugging Face's GPT2LMHeadModel computes it."""
    B, T = ids.shape
    C, NH, eps = config["n_embd"], config["n_head"], config["layer_norm_epsilon"]
    act = {"gelu": torch.nn.functional.gelu, "relu": torch.relu,
           "gelu_new": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))}
    norm = lambda x, n: torch.nn.functional.layer_norm(x, (C,), w[n + ".weight"], w[n + ".bias"], eps)
    linear = lambda x, n: x @ w[n + ".weight"] + w[n + ".bias"]
    heads = lambda x: x.view(B, T, NH, C // NH).transpose(1, 2)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    x = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][:T]
    for layer in range(config["n_layer"]):
        h = f"transformer.h.{layer}."
        q, k, v = (heads(part) for part in linear(norm(x, h + "ln_1"), h + "attn.c_attn").split(C, dim=2))
        scores = (q @ k.transpose(2, 3) / math.sqrt(C // NH)).masked_fill(future, -math.inf)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, C)
        x = x + linear(mixed, h + "attn.c_proj")
        x = x + linear(act[config["activation_function"]](linear(norm(x, h + "ln_2"), h + "mlp.c_fc")), h + "mlp.c_proj")
    logits = norm(x, "transformer.ln_f") @ output_rows(w).T
    return logits + w["lm_head.bias"] if "lm_head.bias" in w else logits


def output_rows(w):
    return w.get("lm_head.weight", w["transformer.wte.weight"])


def mean(values):
    return values.mean().item() if values.numel() else None


def group_numbers(group, inputs, targets, logits, logp, rows):
    """SCIENCE sections 1 and 2, pair by pair: kept[mask] is [B, T, tokens]."""
    B, T = inputs.shape
    group = torch.tensor(group)
    present = inputs[:, :, None] == group
    shape = (B, T, len(group))
    kept = {"none": torch.ones(shape, dtype=torch.bool),
            "columns": ~present.any(0).any(0).expand(shape),
            "windows": ~present.any(1)[:, None, :].expand(shape),
            "positions": ~present.any(2)[:, :, None].expand(shape)}
    of_group = logp[:, :, group]
    per_token = of_group.mean((0, 1))
    p = of_group.exp().mean((0, 1))
    hit = (targets[:, :, None] == group).any(2)
    losses = -logp.gather(2, targets[:, :, None])[:, :, 0]
    return {"mean_logp": {m: mean(of_group[k]) for m, k in kept.items()},
            "n": {m: k.sum().item() for m, k in kept.items()},
            "tokens_kept": {m: k.any(0).any(0).sum().item() for m, k in kept.items()},
            "sd": per_token.std().item(),
            "quantiles": torch.quantile(per_token, torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])).tolist(),
            "ln_mean_p": mean(p.log()), "mean_p": mean(p), "mass": p.sum().item(),
            "mean_logit": mean(logits[:, :, group]), "target_loss": mean(losses[hit]),
            "output_norm": mean(rows[group].norm(dim=1))}


def compare(path, own, served, worst):
    """Largest difference over all numbers of a nested value."""
    if isinstance(own, dict):
        return max(compare(f"{path}/{key}", own[key], served[key], worst) for key in own)
    if isinstance(own, list):
        return max(compare(f"{path}/{i}", a, b, worst) for i, (a, b) in enumerate(zip(own, served)))
    if own is None or served is None:
        difference = 0.0 if own is served else math.inf
    else:
        difference = abs(own - served)
    if not difference <= TOLERANCE:
        worst.append(f"{path}: recomputed {own}, served {served}")
    return difference


def check(job, config, groups, epoch, worst):
    w = tensors(get(f"{job}/checkpoint?epoch={epoch}"))
    batch = json.loads(get(f"{job}/batch?epoch={epoch}"))
    record = json.loads(get(f"{job}/epochs?from={epoch}&to={epoch}"))["epochs"][0]
    inputs, targets = torch.tensor(batch["inputs"]), torch.tensor(batch["targets"])
    with torch.no_grad():
        logits = gpt2_logits(w, config, inputs)
        log_z = logits.logsumexp(-1)
        logp = logits - log_z[:, :, None]
        own = {"loss": -mean(logp.gather(2, targets[:, :, None])), "log_z": mean(log_z),
               "groups": {name: group_numbers(group, inputs, targets, logits, logp, output_rows(w))
                          for name, group in groups.items()}}
    difference = compare("", own, record, worst)
    print(f"epoch {epoch}: loss {own['loss']:.6f}, largest difference {difference:.1e}")


def main(url, job_id, *epochs):
    job = f"{url.rstrip('/')}/api/v1/jobs/{job_id}"
    config = json.loads(get(f"{job}/checkpoint/config.json"))
    groups = {}
    for token in json.loads(get(f"{job}/tokens"))["tokens"]:
        groups.setdefault(token["group"], []).append(token["id"])
    worst = []
    for epoch in epochs:
        check(job, config, groups, int(epoch), worst)
    for line in worst[:20]:
        print(f"DIFFERENT {line}")
    return 1 if worst else 0


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
