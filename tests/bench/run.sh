#!/bin/bash
# run: every benchmark beside its peers, one after the other on an otherwise idle
# machine: tokenizer, then training steps (BUILD/bench.json). Ratios are what
# counts; nothing here passes or fails. About ten minutes.
set -u
cd "$(dirname "$0")/../.."
build=$1
export TOKENFATE_BUILD=$build

echo "== tokenizer, one core, Gulliver's Travels: tokenfate against js-tiktoken"
node tests/bench/bpe_bench.mjs
echo
echo "== training steps: tokenfate, PyTorch, and the least time this machine needs"
node tests/bench/bench.mjs "$build/bench.json"
