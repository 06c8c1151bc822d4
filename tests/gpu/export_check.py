"""export_check: what `transformers` says of a batch with an exported model.

    usage: export_check.py MODEL_FOLDER SEQ_LEN < batch.json

batch.json is what tests/gpu/batch.c prints, with one batch. Prints loss, mean log Z
and each group's mean log p as one JSON object. In double, on the processor.
"""
import json
import sys

import torch
import transformers

folder, seq_len = sys.argv[1], int(sys.argv[2])
batch = json.load(sys.stdin)
(ids,) = batch["batches"].values()
inputs = torch.tensor(ids["inputs"]).view(-1, seq_len)
targets = torch.tensor(ids["targets"])

model, report = transformers.GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
missing = [name for name in report["missing_keys"] if not name.endswith((".attn.bias", ".attn.masked_bias", "lm_head.weight"))]
if missing or report["unexpected_keys"]:
    sys.exit(f"missing {missing}, unexpected {report['unexpected_keys']}")
with torch.no_grad():
    logits = model.eval().double()(inputs).logits.view(len(targets), -1)
lse = logits.logsumexp(1)
logp = logits - lse[:, None]
print(json.dumps({
    "version": transformers.__version__,
    "loss": -logp.gather(1, targets[:, None]).mean().item(),
    "log_z": lse.mean().item(),
    "groups": {name: logp[:, group].mean().item() for name, group in batch["groups"].items()},
}))
