// Remedies through the API: each setting does what SCIENCE section 6 defines, a
// printed spec can be posted again, bad settings are named.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { getEncoding } from 'js-tiktoken';
import { startServer } from '../lib/server.mjs';
import { CORPUS, GULLIVER, epochsOf, finished, submit, tiny } from '../lib/experiments.mjs';

const skip = CORPUS !== 'gulliver' ? 'the text is not here' : false;
let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const post = async (spec) => {
  const answer = await server.api('/jobs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(spec) });
  return { status: answer.status, body: await answer.json() };
};
const run = async (change) => {
  const job = await finished(server, (await submit(server, tiny(change))).id);
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  return { job, records: await epochsOf(server, job.id) };
};
const batch = async (id, epoch) => (await server.api(`/jobs/${id}/batch?epoch=${epoch}`)).json();
const tokensOf = async (id) => (await (await server.api(`/jobs/${id}/tokens`)).json()).tokens;

test('inserted tokens are targets exactly as often as their dose says', { skip }, async () => {
  const { job, records } = await run({
    train: { epochs: 40, batch_size: 4 }, data: { inject: { tokens: 6, doses: [0, 1, 4], epochs: [5, 30] } },
  });
  const doses = job.groups.map((group) => group.name).filter((name) => name.startsWith('dose_'));
  assert.deepEqual(doses, ['dose_0', 'dose_1', 'dose_4']);
  for (const dose of [0, 1, 4]) {
    assert.equal(records[5].groups[`dose_${dose}`].exposure, 0, 'nothing before its epochs');
    assert.equal(records[30].groups[`dose_${dose}`].exposure, dose, 'all of it after them');
  }
  assert.equal(records[40].groups.never_used.exposure, 0);
  const inserted = new Map((await tokensOf(job.id)).filter(({ group }) => group.startsWith('dose_')).map(({ id, group }) => [id, Number(group.slice(5))]));
  assert.equal(inserted.size, 18);
  const times = new Map();
  for (let epoch = 0; epoch < 40; epoch++) {
    const { inputs, targets } = await batch(job.id, epoch);
    targets.forEach((row, b) => row.forEach((target, t) => {
      if (t + 1 < row.length) assert.equal(inputs[b][t + 1], target, 'a target is the next input');
      if (inserted.has(target)) times.set(target, (times.get(target) ?? 0) + 1);
    }));
  }
  for (const [id, dose] of inserted) assert.equal(times.get(id) ?? 0, dose, `token ${id}`);
});

test('held-out text: the counts are of the rest', { skip }, async () => {
  const whole = await submit(server, tiny({ corpus: { variant: 'body' } }));
  const { job } = await run({ corpus: { variant: 'body' }, data: { holdout: 4 } });
  const { tokens, held_out: heldOut } = job.corpus;
  assert.equal(tokens + heldOut, whole.corpus.tokens);
  assert.equal(whole.corpus.held_out, 0);
  assert.equal(heldOut % 1024, 0);
  assert.equal(heldOut / 1024, Math.floor(whole.corpus.tokens / 4096));
});

// GPT-2's pattern as published, and what stands between Project Gutenberg's two lines.
const PIECES = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
const bodyOf = (text) => /\*\*\* START OF [^\n]*\n(.*)\*\*\* END OF /s.exec(text.replace(/^\ufeff/, '').replaceAll('\r\n', '\n'))[1];

// The held-out tokens, and the words that lie in one part, each from its first letter on.
function holdOut(text, k) {
  const encoding = getEncoding('gpt2');
  const isOut = (token) => Math.floor(token / 1024) % k === k - 1;
  const heldOut = [], words = [];
  let tokens = 0;
  for (const [piece] of text.matchAll(PIECES)) {
    const ids = encoding.encode(piece), out = ids.filter((_, i) => isOut(tokens + i));
    const letter = piece.search(/\p{L}/u);
    if (letter >= 0 && [0, ids.length].includes(out.length)) {
      words.push({ text: piece.slice(letter), first: heldOut.length, n: out.length });
    }
    heldOut.push(...out);
    tokens += ids.length;
  }
  const known = new Set(words.filter(({ n }) => n === 0).map((word) => word.text));
  return { tokens, heldOut, words: words.filter(({ n }) => n > 0).map((word) => ({ ...word, unseen: !known.has(word.text) })) };
}

test('words that the training part never has: how many, and their loss, asked of the model token by token', { skip }, async () => {
  const T = 32, WINDOWS = 24;
  const { job, records } = await run({
    corpus: { variant: 'body' }, model: { seq_len: T }, train: { epochs: 40, lr: 0.01 }, data: { holdout: 4 }, eval: { windows: WINDOWS, every: 25 },
  });
  const { tokens, heldOut, words } = holdOut(bodyOf(fs.readFileSync(GULLIVER, 'utf8')), 4);
  assert.equal(job.corpus.held_out, heldOut.length);
  assert.equal(job.corpus.tokens, tokens - heldOut.length);
  const each = Math.floor(1023 / T), there = heldOut.length / 1024 * each;
  const starts = Array.from({ length: WINDOWS }, (_, i) => Math.floor(i * there / WINDOWS)).map((w) => Math.floor(w / each) * 1024 + w % each * T);
  // The targets of a window are the T tokens behind its first one.
  const counted = words.flatMap((word) => {
    const start = starts.find((at) => word.first > at && word.first + word.n <= at + T + 1);
    return start === undefined ? [] : [{ ...word, start }];
  });
  const ask = async (ids, token) => {
    const answer = await server.api(`/jobs/${job.id}/probe`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ ids, tokens: [token] }) });
    return (await answer.json()).tokens[0].logp;
  };
  const sums = { seen: { loss: 0, words: 0, tokens: 0 }, unseen: { loss: 0, words: 0, tokens: 0 } };
  for (const { start, first, n, unseen } of counted) {
    const sum = unseen ? sums.unseen : sums.seen;
    sum.words++;
    sum.tokens += n;
    for (let at = first; unseen && at < first + n; at++) sum.loss -= await ask(heldOut.slice(start, at), heldOut[at]);
  }
  const near = (got, wanted) => assert.ok(Math.abs(got - wanted) < 1e-4, `${got}, not ${wanted}`);
  const { holdout } = records[40];
  assert.ok(sums.unseen.words > 5 && sums.unseen.tokens > sums.unseen.words, JSON.stringify(sums));
  assert.deepEqual([holdout.unseen_words, holdout.unseen_word_tokens], [sums.unseen.words, sums.unseen.tokens]);
  assert.deepEqual([holdout.seen_words, holdout.seen_word_tokens], [sums.seen.words, sums.seen.tokens]);
  near(holdout.unseen_word_loss, sums.unseen.loss / sums.unseen.words);
  near(holdout.unseen_word_token_loss, sums.unseen.loss / sums.unseen.tokens);
  near(holdout.seen_word_loss * holdout.seen_words, holdout.seen_word_token_loss * holdout.seen_word_tokens);
  assert.ok(holdout.seen_word_loss < holdout.unseen_word_loss, 'what the text has is likelier');
  assert.deepEqual(records.filter((record) => record.holdout.unseen_words !== null).map(({ epoch }) => epoch), [0, 25, 40]);
});

test('no words, no loss of words: permuted text and bytes', { skip }, async () => {
  for (const corpus of [{ variant: 'body', shuffled: true }, { variant: 'body', tokenizer: 'bytes' }]) {
    const { records } = await run({ corpus, data: { holdout: 4 }, eval: { windows: 4, every: 4 } });
    const { loss, log_z, ...words } = records[8].holdout;
    assert.ok(loss > 0 && log_z > 0);
    assert.deepEqual(words, Object.fromEntries(['unseen', 'seen'].flatMap((kind) => ['word_loss', 'word_token_loss', 'words', 'word_tokens'].map((name) => [`${kind}_${name}`, null]))));
  }
});

test('oversampled windows expose the group more often', { skip }, async () => {
  const change = { train: { epochs: 60, batch_size: 4 } };
  const plain = await run(change);
  const more = await run({ ...change, data: { oversample: { group: 'least_common', factor: 1000 } } });
  const exposure = ({ records }) => records[60].groups.least_common.exposure;
  assert.ok(exposure(more) > 5 * exposure(plain) && exposure(more) > 1, `${exposure(more)} against ${exposure(plain)}`);
});

test('pruned vocabulary: the used types and nothing else, shown under the ids they always had', { skip }, async () => {
  const change = { train: { epochs: 3, snapshots: [0] } };
  const all = await run(change);
  const { job, records } = await run({ ...change, corpus: { vocabulary: 'used' } });
  assert.equal(job.corpus.vocabulary, all.job.corpus.types);
  assert.equal(job.corpus.types, all.job.corpus.types);
  for (const epoch of [0, 2]) assert.deepEqual(await batch(job.id, epoch), await batch(all.job.id, epoch));
  const of = (tokens, wanted) => tokens.filter(({ group }) => group === wanted).map(({ id, text, count }) => ({ id, text, count }));
  const [tokens, before] = [await tokensOf(job.id), await tokensOf(all.job.id)];
  for (const group of ['most_common', 'least_common']) assert.equal(of(tokens, group).length, 20);
  assert.deepEqual(of(tokens, 'most_common'), of(before, 'most_common'));
  assert.deepEqual(of(tokens, 'never_used'), []);
  for (const { groups: { never_used: empty }, loss } of records) {
    assert.ok(Number.isFinite(loss));
    assert.equal(empty.n.none, 0);
    assert.equal(empty.tokens_kept.columns, 0);
    for (const value of [...Object.values(empty.mean_logp), empty.sd, empty.mass, empty.exposure, ...empty.quantiles]) assert.equal(value, null);
  }
  const level = -Math.log(job.corpus.types);
  assert.ok(Math.abs(records[0].groups.most_common.mean_logp.none - level) < 0.05, `${records[0].groups.most_common.mean_logp.none} against ${level}`);
  const config = await (await server.api(`/jobs/${job.id}/checkpoint/config.json`)).json();
  assert.equal(config.vocab_size, job.corpus.types);
  assert.equal(config.tokenfate_vocabulary.length, config.vocab_size);
  assert.ok(config.tokenfate_vocabulary.every((id, i, ids) => i === 0 || id > ids[i - 1]));
  const known = new Set(config.tokenfate_vocabulary);
  for (const { id } of tokens) assert.ok(known.has(id), `token ${id}`);
  const probe = async (body) => {
    const answer = await server.api(`/jobs/${job.id}/probe`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    return { status: answer.status, body: await answer.json() };
  };
  const { status, body } = await probe({ text: ' the of', tokens: [' the'], top: 1000 });
  assert.equal(status, 200, JSON.stringify(body));
  assert.deepEqual(body.ids, [262, 286]);
  assert.ok(body.top.every(({ id }) => known.has(id)));
  assert.equal(body.tokens[0].id, 262);
  const never = of(before, 'never_used')[0].id;
  assert.equal((await probe({ ids: [never] })).body.errors[0].pointer, '/ids/0');
});

test('a job starts from the model of another, which is kept as long as it is needed', { skip }, async () => {
  const change = { corpus: { variant: 'lf' }, train: { epochs: 6, snapshots: [0] } };
  const source = await run(change);
  const checkpoint = async (id, epoch) => Buffer.from(await (await server.api(`/jobs/${id}/checkpoint?epoch=${epoch}`)).arrayBuffer());
  const from = { ...change, init_from: source.job.id, corpus: { variant: 'raw' } };
  const { job, records } = await run(from);
  assert.equal(job.spec.init_from, source.job.id);
  assert.equal(job.theory.untrained, null, 'it never was untrained');
  assert.ok((await checkpoint(job.id, 0)).equals(await checkpoint(source.job.id, 6)), 'the same weights');
  assert.ok(!(await checkpoint(job.id, 6)).equals(await checkpoint(job.id, 0)), 'and it goes on from there');
  assert.equal(records[0].groups.never_used.output_shift, 0, 'shifts are measured from where it started');
  const again = await run(from);
  assert.deepEqual(again.records.map((record) => record.loss), records.map((record) => record.loss));

  const refused = async (spec, pointers) => {
    const { status, body } = await post({ ...tiny(from), ...spec });
    assert.equal(status, 422, JSON.stringify(body));
    assert.deepEqual(body.errors.map((error) => error.pointer), pointers, JSON.stringify(body));
  };
  await refused({ init_from: '00000000-0000-4000-8000-000000000000' }, ['/init_from']);
  await refused({ model: { ...tiny().model, d_model: 32, tie: 'untied' } }, ['/model/d_model', '/model/tie']);
  await refused({ model: { ...tiny().model, seq_len: 16, n_layers: 2 } }, ['/model/n_layers', '/model/seq_len']);
  await refused({ corpus: { id: CORPUS, tokenizer: 'cl100k_base' } }, ['/corpus/tokenizer']);
  await refused({ corpus: { id: CORPUS, vocabulary: 'used' } }, ['/corpus/vocabulary']);

  const waiting = await submit(server, tiny({ ...from, train: { epochs: 100000 } }));
  await refused({ init_from: waiting.id }, ['/init_from']);
  const remove = () => server.api(`/jobs/${source.job.id}`, { method: 'DELETE' });
  const conflict = await remove();
  assert.equal(conflict.status, 409);
  assert.match((await conflict.json()).detail, new RegExp(`job ${waiting.id} starts from its model`));
  await server.api(`/jobs/${waiting.id}/cancel`, { method: 'POST' });
  await finished(server, waiting.id);
  assert.ok((await remove()).ok);
  await refused({}, ['/init_from']);
  await server.api(`/jobs/${waiting.id}/retry`, { method: 'POST' });
  const lost = await finished(server, waiting.id);
  assert.equal(lost.state, 'failed');
  assert.match(lost.error.message, /the model of job .* is gone/);
});

test('a setting that cannot be is refused by the name of its field', { skip }, async () => {
  const cases = [
    [{ data: { inject: { tokens: 1000, doses: [1000] } } }, '/data/inject/tokens'],
    [{ corpus: { tokenizer: 'gpt2' }, groups: { size: 5000 }, data: { inject: { tokens: 1000, doses: [1] } } }, '/data/inject/tokens'],
    [{ data: { oversample: { group: 'never_used', factor: 2 } } }, '/data/oversample/group'],
    [{ data: { holdout: 10 } }, '/data/holdout'],
    [{ corpus: { id: 'gulliver-synthetic', variant: 'body' }, data: { holdout: 10 } }, '/data/holdout'],
    [{ corpus: { variant: 'body' }, data: { holdout: 1000 } }, '/data/holdout'],
    [{ loss: { class_weight: 'NaN' } }, '/loss/class_weight'],
    [{ model: { head: 'adaptive', cutoffs: [200, 100], tie: 'untied' } }, '/model/cutoffs/1'],
    [{ init_from: 'yesterday' }, '/init_from'],
  ];
  for (const [change, pointer] of cases) {
    const { status, body } = await post({ ...tiny(), ...change });
    assert.equal(status, 422, JSON.stringify(change));
    assert.deepEqual(body.errors.map((error) => error.pointer), [pointer], JSON.stringify(body));
  }
  // As Python prints it, which is no JSON.
  const answer = await server.api('/jobs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"loss": {"class_weight": NaN}}' });
  assert.equal(answer.status, 422);
  assert.equal((await answer.json()).errors[0].pointer, '/loss/class_weight');
});
