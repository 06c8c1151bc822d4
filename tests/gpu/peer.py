"""peer: the same training step in PyTorch, for bench.py: what a careful user writes.
GPT-2 (Radford et al. 2019) with scaled_dot_product_attention, bf16 autocast over
float32 weights, fused AdamW, vocabulary padded to 50304, in one of torch's ways to
run it. No statistics.

    usage: peer.py MODE D_MODEL LAYERS HEADS SEQ_LEN BATCH TIED GIB
           MODE: eager, default, reduce-overhead, max-autotune; GIB: memory it may take

Prints {"bytes", "torch", ...} when it has done its first steps; then each line N of
standard input is answered by {"steps", "seconds"}; ends at the end of input. Without
a GPU it computes on the processor in float32, so that the script itself can be tried.
"""
import json
import sys
import time

import torch
import torch.nn.functional as F

VOCABULARY, PADDED, FIRST_STEPS = 50257, 50304, 6
mode = sys.argv[1]
d_model, n_layers, n_heads, seq_len, batch, tied, gib = (int(a) for a in sys.argv[2:])
on_gpu = torch.cuda.is_available()
device = "cuda" if on_gpu else "cpu"


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = torch.nn.LayerNorm(d_model), torch.nn.LayerNorm(d_model)
        self.attention, self.projection = torch.nn.Linear(d_model, 3 * d_model), torch.nn.Linear(d_model, d_model)
        self.up, self.down = torch.nn.Linear(d_model, 4 * d_model), torch.nn.Linear(4 * d_model, d_model)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, n_heads, C // n_heads).transpose(1, 2) for t in self.attention(self.ln_1(x)).split(C, 2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.ln_2(x))))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = torch.nn.Embedding(PADDED, d_model), torch.nn.Embedding(seq_len, d_model)
        self.blocks, self.ln_f = torch.nn.ModuleList(Block() for _ in range(n_layers)), torch.nn.LayerNorm(d_model)
        self.head = torch.nn.Linear(d_model, PADDED, bias=False)
        for p in self.parameters():
            if p.dim() > 1:
                torch.nn.init.normal_(p, std=0.02)
        if tied:
            self.head.weight = self.wte.weight

    def forward(self, inputs, targets):
        x = self.wte(inputs) + self.wpe.weight
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.ln_f(x))
        return F.cross_entropy(logits.view(-1, PADDED), targets.view(-1))


torch.manual_seed(1)
if on_gpu:
    torch.cuda.set_per_process_memory_fraction(min(1.0, gib * 2**30 / torch.cuda.get_device_properties(0).total_memory))
model = Model().to(device)
run = model if mode == "eager" else torch.compile(model, mode=mode)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, **({"fused": True} if on_gpu else {}))
text = torch.randint(0, VOCABULARY, (1 << 18,), device=device)
starts = torch.arange(seq_len + 1, device=device)


def step():
    """Batches come from a text that is on the device already."""
    windows = text[torch.randint(0, len(text) - seq_len - 1, (batch, 1), device=device) + starts]
    if mode != "eager":
        torch.compiler.cudagraph_mark_step_begin()
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device, torch.bfloat16, enabled=on_gpu):
        loss = run(windows[:, :-1].contiguous(), windows[:, 1:].contiguous())
    loss.backward()
    optimizer.step()
    return loss


def finish():
    if on_gpu:
        torch.cuda.synchronize()


begin = time.perf_counter()
for _ in range(FIRST_STEPS):
    step()
finish()
print(json.dumps({
    "torch": torch.__version__, "device": torch.cuda.get_device_name() if on_gpu else "cpu",
    "first_seconds": time.perf_counter() - begin, "bytes": torch.cuda.max_memory_allocated() if on_gpu else 0,
}), flush=True)
for line in sys.stdin:
    steps = int(line)
    finish()
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    finish()
    print(json.dumps({"steps": steps, "seconds": time.perf_counter() - begin}), flush=True)
