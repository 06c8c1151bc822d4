// step_floor: the least time a training step can take on a machine whose best rates
// floor_bench measured. Two phases, one after the other; each takes as long as its
// arithmetic or its memory traffic, whichever is longer:
//   forward and backward: multiply-adds of all products (three per weight and
//     position, six T x T products a head, causal half), against reading the weights
//     twice and writing their gradients once;
//   AdamW: reading weights, gradients and two moments, writing all but the gradients,
//     and the bf16 copy where there is one.
// exp, layernorm and everything else count as nothing: no program can reach it.

const VOCABULARY = 50257;
const PEAK = { fp32: 'fp32', bf16: 'bf16' };

function counts(spec) {
  const { d_model: C, n_layers: L, seq_len: T, tie } = spec.model;
  const B = spec.train.batch_size;
  const matrices = 12 * L * C * C;
  const products = 6 * B * T * (matrices + VOCABULARY * C);
  const attention = 6 * L * B * C * T * (T + 1);
  const parameters = matrices + L * 13 * C + 2 * C + T * C + VOCABULARY * C * (tie === 'tied' ? 1 : 2);
  return { tokens: B * T, flops: products + attention, parameters };
}

/** Multiply-adds a second for an ISA and precision: bf16 runs as fp32 where it has no instruction of its own. */
function peak(machine, isa, precision) {
  const { flops } = machine;
  return flops[`${isa}_${PEAK[precision]}`] ?? flops[`${isa.replace('_bf16', '')}_fp32`];
}

/** {tokens, flops, milliseconds} of one step. */
export function stepFloor(spec, machine, isa, precision) {
  const { tokens, flops, parameters } = counts(spec);
  const bytes = precision === 'bf16' ? 2 : 4;
  const arithmetic = flops / peak(machine, isa, precision);
  const weights = (parameters * (2 * bytes + 4)) / machine.read;
  const update = (parameters * (28 + (precision === 'bf16' ? 2 : 0))) / machine.update;
  return { tokens, flops, milliseconds: 1e3 * (Math.max(arithmetic, weights) + update) };
}
