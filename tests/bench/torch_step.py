"""torch_step: the peer of step_bench: training steps of the same GPT-2 in PyTorch.

    python3 torch_step.py THREADS fp32|bf16

The same conversation as step_bench: a complete spec on the first line of standard
input, then `step` lines; one line of JSON for each, the first after a step that is not
timed. Same shapes, same optimiser (PyTorch's own AdamW), no statistics; bf16 is
autocast, as PyTorch's documentation shows it: what someone would write first.
"""
import json
import sys
import time

import torch
import torch.nn.functional as F

VOCABULARY = 50257
threads, precision = int(sys.argv[1]), sys.argv[2]
spec = json.loads(sys.stdin.readline())
model_spec, train = spec["model"], spec["train"]
d_model, n_heads, seq_len = model_spec["d_model"], model_spec["n_heads"], model_spec["seq_len"]
logit_scale = d_model**-0.5 if model_spec["logit_scale"] == "inv_sqrt_d" else model_spec["logit_scale"]
torch.set_num_threads(threads)
torch.manual_seed(1)


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = torch.nn.LayerNorm(d_model), torch.nn.LayerNorm(d_model)
        self.attention, self.projection = torch.nn.Linear(d_model, 3 * d_model), torch.nn.Linear(d_model, d_model)
        self.up, self.down = torch.nn.Linear(d_model, 4 * d_model), torch.nn.Linear(4 * d_model, d_model)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, n_heads, C // n_heads).transpose(1, 2) for t in self.attention(self.ln_1(x)).split(C, 2))
        scores = (q @ k.transpose(2, 3)) / (C // n_heads) ** 0.5
        weights = scores.masked_fill(torch.ones(T, T).tril() == 0, float("-inf")).softmax(-1)
        x = x + self.projection((weights @ v).transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.ln_2(x))))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = torch.nn.Embedding(VOCABULARY, d_model), torch.nn.Embedding(seq_len, d_model)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(model_spec["n_layers"]))
        self.ln_f = torch.nn.LayerNorm(d_model)
        for p in self.parameters():
            if p.dim() > 1:
                torch.nn.init.normal_(p, std=0.02)
        tied = model_spec["tie"] == "tied"
        self.unembedding = self.wte.weight if tied else torch.nn.Parameter(self.wte.weight.detach().clone())

    def forward(self, ids):
        x = self.wte(ids) + self.wpe.weight
        for block in self.blocks:
            x = block(x)
        return self.ln_f(x) @ self.unembedding.T * logit_scale


model = Model()
optimizer = torch.optim.AdamW(
    model.parameters(), lr=train["lr"], betas=(train["beta1"], train["beta2"]), eps=train["eps"],
    weight_decay=train["weight_decay"])


def step():
    ids = torch.randint(0, VOCABULARY, (train["batch_size"], seq_len + 1))
    start = time.perf_counter()
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        logits = model(ids[:, :-1]).reshape(-1, VOCABULARY)
        loss = F.cross_entropy(logits, ids[:, 1:].reshape(-1))
    loss.backward()
    optimizer.step()
    return {"ms": 1e3 * (time.perf_counter() - start), "loss": loss.item()}


step()
print(json.dumps({"device": f"PyTorch {torch.__version__}", "threads": threads}), flush=True)
for line in sys.stdin:
    if line == "end\n":
        break
    print(json.dumps(step()), flush=True)
