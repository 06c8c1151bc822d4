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
// Instruction sets whose float32 is that of another one.
const FP32_OF = { avx512_bf16: 'avx512', amx: 'avx512' };

function counts(spec) {
  const { d_model: C, n_layers: L, seq_len: T, tie } = spec.model;
  const B = spec.train.batch_size;
  const matrices = 12 * L * C * C;
  const products = 6 * B * T * (matrices + VOCABULARY * C);
  const attention = 6 * L * B * C * T * (T + 1);
  const parameters = matrices + L * 13 * C + 2 * C + T * C + VOCABULARY * C * (tie === 'tied' ? 1 : 2);
  return { tokens: B * T, flops: products + attention, parameters };
}

/** Multiply-adds a second for an ISA and precision: bf16 runs as fp32 where it has no
 * instruction of its own. NaN for AMX, whose rate nobody has measured. */
function peak(machine, isa, precision) {
  const own = precision === 'bf16' && ['avx512_bf16', 'amx'].includes(isa);
  return machine.flops[own ? (isa === 'amx' ? 'amx_bf16' : isa) : `${FP32_OF[isa] ?? isa}_fp32`] ?? NaN;
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
