#!/bin/bash
# run: every benchmark beside its peer, one after the other on an otherwise idle
# machine. Ratios are what counts; nothing here passes or fails.
set -u
cd "$(dirname "$0")/../.."
build=$1
threads=$(nproc)
export TOKENFATE_BUILD=$build

echo "== tokenizer, one core, Gulliver's Travels: tokenfate against js-tiktoken"
node tests/bench/bpe_bench.mjs
echo
echo "== training step, the gulliver preset (d 128, 4 layers, T 64, B 8, V 50257, AdamW, fp32): PyTorch, tokenfate, PyTorch"
/usr/bin/python3 tests/bench/torch_step.py "$threads"
"$build/tests/step_bench" "$threads"
/usr/bin/python3 tests/bench/torch_step.py "$threads"
