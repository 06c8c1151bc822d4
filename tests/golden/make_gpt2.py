#!/usr/bin/python3
"""Golden numbers for tests/unit/gpu_model.c: a GPT-2 of a few lines in PyTorch,
float64, autograd and torch.optim. Weights and tokens come from integer
formulas that the C test repeats, so that the file holds results only.

    /usr/bin/python3 tests/golden/make_gpt2.py > tests/golden/gpt2.json
"""
import json
import math

import torch
import torch.nn.functional as F

B, T, C, L, NH, V, STEPS = 2, 5, 8, 2, 2, 37, 4

CASES = [
    {"name": "tied_adamw", "tie": "tied", "head_bias": False, "scale": 1.0, "activation": "gelu",
     "optimizer": "adamw", "clip": 0.0},
    {"name": "untied_adam_clip", "tie": "untied", "head_bias": True, "scale": 0.353553390593273762,
     "activation": "gelu_new", "optimizer": "adam", "clip": 0.2},
    {"name": "tied_momentum", "tie": "tied", "head_bias": True, "scale": 1.0, "activation": "relu",
     "optimizer": "momentum", "clip": 0.0},
    {"name": "untied_sgd", "tie": "untied", "head_bias": False, "scale": 2.0, "activation": "gelu",
     "optimizer": "sgd", "clip": 0.0},
]
LR, BETA1, BETA2, EPS, DECAY, MOMENTUM = 0.01, 0.9, 0.99, 1e-3, 0.1, 0.75


def mix(k):
    k = (k * 2654435761 + 12345) % 2**32
    k ^= k >> 15
    k = (k * 2246822519) % 2**32
    return k ^ (k >> 13)


def names(case):
    out = [("transformer.wte.weight", (V, C)), ("transformer.wpe.weight", (T, C))]
    for layer in range(L):
        p = f"transformer.h.{layer}."
        out += [(p + "ln_1.weight", (C,)), (p + "ln_1.bias", (C,)),
                (p + "attn.c_attn.weight", (C, 3 * C)), (p + "attn.c_attn.bias", (3 * C,)),
                (p + "attn.c_proj.weight", (C, C)), (p + "attn.c_proj.bias", (C,)),
                (p + "ln_2.weight", (C,)), (p + "ln_2.bias", (C,)),
                (p + "mlp.c_fc.weight", (C, 4 * C)), (p + "mlp.c_fc.bias", (4 * C,)),
                (p + "mlp.c_proj.weight", (4 * C, C)), (p + "mlp.c_proj.bias", (C,))]
    out += [("transformer.ln_f.weight", (C,)), ("transformer.ln_f.bias", (C,))]
    if case["tie"] == "untied":
        out.append(("lm_head.weight", (V, C)))
    if case["head_bias"]:
        out.append(("lm_head.bias", (V,)))
    return out


def weights(case):
    out = {}
    for index, (name, shape) in enumerate(names(case)):
        n = math.prod(shape)
        values = [((mix(index * 65536 + k) & 0xFFFF) - 32768) / 65536.0 for k in range(n)]
        out[name] = torch.tensor(values, dtype=torch.float64).reshape(shape).requires_grad_()
    return out


def batch(step):
    ids = [mix(7000000 + step * 1000 + k) % V for k in range(B * T + 1)]
    ids = torch.tensor(ids)
    return ids[:-1].reshape(B, T), ids[1:].reshape(B, T)


def activation(x, case):
    kind = case["activation"]
    if kind == "relu":
        return F.relu(x)
    return F.gelu(x, approximate="none" if kind == "gelu" else "tanh")


def forward(w, case, inputs, targets):
    x = w["transformer.wte.weight"][inputs] + w["transformer.wpe.weight"]
    mask = torch.tril(torch.ones(T, T, dtype=torch.bool))
    for layer in range(L):
        p = f"transformer.h.{layer}."
        h = F.layer_norm(x, (C,), w[p + "ln_1.weight"], w[p + "ln_1.bias"])
        qkv = h @ w[p + "attn.c_attn.weight"] + w[p + "attn.c_attn.bias"]
        q, k, v = (part.reshape(B, T, NH, C // NH).transpose(1, 2) for part in qkv.split(C, dim=2))
        scores = (q @ k.transpose(2, 3) / math.sqrt(C // NH)).masked_fill(~mask, -math.inf)
        attended = (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, C)
        x = x + attended @ w[p + "attn.c_proj.weight"] + w[p + "attn.c_proj.bias"]
        h = F.layer_norm(x, (C,), w[p + "ln_2.weight"], w[p + "ln_2.bias"])
        h = activation(h @ w[p + "mlp.c_fc.weight"] + w[p + "mlp.c_fc.bias"], case)
        x = x + h @ w[p + "mlp.c_proj.weight"] + w[p + "mlp.c_proj.bias"]
    h = F.layer_norm(x, (C,), w["transformer.ln_f.weight"], w["transformer.ln_f.bias"])
    out = w["lm_head.weight"] if case["tie"] == "untied" else w["transformer.wte.weight"]
    logits = case["scale"] * (h @ out.T)
    if case["head_bias"]:
        logits = logits + w["lm_head.bias"]
    return F.cross_entropy(logits.reshape(B * T, V), targets.reshape(-1)), logits


def optimizer(case, parameters):
    kind = case["optimizer"]
    if kind == "adamw":
        return torch.optim.AdamW(parameters, LR, (BETA1, BETA2), EPS, DECAY)
    if kind == "adam":
        return torch.optim.Adam(parameters, LR, (BETA1, BETA2), EPS, DECAY)
    return torch.optim.SGD(parameters, LR, MOMENTUM if kind == "momentum" else 0.0,
                           weight_decay=DECAY)


def rounded(tensor):
    return [float(f"{x:.9g}") for x in tensor.detach().reshape(-1).tolist()]


def run(case):
    w = weights(case)
    opt = optimizer(case, list(w.values()))
    result = dict(case)
    result["losses"], result["norms"] = [], []
    for step in range(STEPS):
        opt.zero_grad()
        loss, logits = forward(w, case, *batch(step))
        loss.backward()
        norm = torch.sqrt(sum((p.grad ** 2).sum() for p in w.values()))
        result["losses"].append(loss.item())
        result["norms"].append(norm.item())
        if step == 0:
            result["lse"] = rounded(logits.logsumexp(-1))
            result["mean_p"] = rounded(logits.softmax(-1).mean((0, 1)))
            result["gradients"] = {name: rounded(p.grad) for name, p in w.items()}
        if case["clip"] > 0:
            torch.nn.utils.clip_grad_norm_(list(w.values()), case["clip"])
        opt.step()
    return result


print(json.dumps({"torch": torch.__version__, "cases": [run(case) for case in CASES]}))
