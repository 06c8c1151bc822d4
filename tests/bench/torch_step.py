"""torch_step: the peer of step_bench: one training step of the same GPT-2 in PyTorch.

    python3 torch_step.py [threads [d_model n_layers n_heads seq_len batch [steps]]]

Same shapes, tied embeddings, vocabulary 50257, fused-nothing AdamW, float32: what
someone would write first. Prints one line, `torch VERSION: N tokens/s`.
"""
import sys
import time

import torch
import torch.nn.functional as F

VOCABULARY = 50257
arguments = [int(a) for a in sys.argv[1:]]
threads, d_model, n_layers, n_heads, seq_len, batch, steps = (arguments + [2, 128, 4, 4, 64, 8, 10][len(arguments):])
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
        self.blocks, self.ln_f = torch.nn.ModuleList(Block() for _ in range(n_layers)), torch.nn.LayerNorm(d_model)
        for p in self.parameters():
            if p.dim() > 1:
                torch.nn.init.normal_(p, std=0.02)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe.weight
        for block in self.blocks:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T


model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
times = []
for step in range(steps + 2):
    ids = torch.randint(0, VOCABULARY, (batch, seq_len + 1))
    start = time.perf_counter()
    optimizer.zero_grad()
    F.cross_entropy(model(ids[:, :-1]).reshape(-1, VOCABULARY), ids[:, 1:].reshape(-1)).backward()
    optimizer.step()
    times.append(time.perf_counter() - start)
median = sorted(times[2:])[steps // 2]
print(f"torch {torch.__version__}: {batch * seq_len / median:.0f} tokens/s (median of {steps} steps, {threads} threads, fp32)")
