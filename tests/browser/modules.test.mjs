// The dashboard's modules without a browser: the store of epochs against a made-up
// server, and how numbers and tokens are written.
import { test, beforeEach } from 'node:test';
import assert from 'node:assert/strict';
import { Epochs, groupPointer } from '../../web/epochs.js';
import { describe, typedNumber, textToTokens, tokensToText } from '../../web/fields.js';
import { fence } from '../../web/outliers.js';
import { bytes, count, duration, exact, expected, fixed, interval, signed, significant, tickLabels, visible } from '../../web/format.js';

const record = (epoch) => ({
  job: 'x', epoch, loss: 10 - epoch / 1000, log_z: 10,
  groups: { 'a/b': { mean_logp: { none: -epoch, columns: epoch % 2 ? null : -epoch }, quantiles: [-5, -4, -3, -2, -1], eval_quantiles: [-9, -8, -7, -6, epoch % 2 ? null : -5] } },
});
const value = (epoch, pointer) => pointer.slice(1).split('/').map((key) => key.replaceAll('~1', '/')).reduce((at, key) => at?.[key], record(epoch)) ?? null;

// A job of `stored` epochs behind fetch(), in pages of at most 1000 records.
let requests;
function serve(stored) {
  requests = [];
  globalThis.fetch = async (path) => {
    requests.push(path);
    const query = new URL(path, 'http://server').searchParams;
    const number = (name, otherwise) => Number(query.get(name) ?? otherwise);
    let body;
    if (query.has('points')) {
      const points = number('points');
      const n = Math.min(number('to', 1e9) + 1, stored);
      const epoch = Array.from({ length: points }, (_, i) => Math.floor(((i + 1) * n) / points) - 1);
      const series = query.get('series').split(',').map((pointer) => [pointer, { epoch, last: epoch.map((e) => value(e, pointer)) }]);
      body = { series: Object.fromEntries(series) };
    } else {
      const from = number('from', 0);
      const to = Math.min(number('to', 1e9), stored - 1, from + Math.min(number('limit', 1000), 1000) - 1);
      const epochs = Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => record(from + i));
      body = { epochs, next: to < Math.min(number('to', 1e9), stored - 1) ? to + 1 : null };
    }
    return new Response(JSON.stringify(body), { headers: { 'Content-Type': 'application/json' } });
  };
}
beforeEach(() => serve(0));

test('expected times in words: a minute, a range, another day, and never one that has passed', () => {
  const at = (...parts) => new Date(2026, 10, 30, ...parts).toISOString();
  const now = new Date(2026, 10, 30, 14, 0, 30);
  const words = (earliest, latest) => expected({ earliest, latest, likely: earliest }, now);
  assert.equal(words(at(14, 20), at(14, 35)), 'about 14:20 \u2013 14:35');
  assert.equal(words(at(14, 20, 10), at(14, 20, 50)), 'about 14:20');
  assert.equal(words(at(13, 50), at(14, 10)), 'about 14:00 \u2013 14:10');
  assert.equal(words(at(13, 50), at(13, 55)), 'in a moment');
  assert.equal(words(at(23, 50), at(25, 10)), 'about 23:50 \u2013 1 Dec 01:10');
  assert.equal(words(at(33, 0), at(35, 0)), 'about 1 Dec 09:00 \u2013 11:00');
  assert.equal(words(at(33, 0), at(33, 0)), 'about 1 Dec 09:00');
});

test('a job is loaded page by page, every epoch once', async () => {
  serve(2501);
  const epochs = new Epochs();
  await epochs.load('x', 2500);
  assert.equal(requests.length, 3);
  assert.deepEqual(epochs.x, Array.from({ length: 2501 }, (_, i) => i));
  assert.equal(epochs.column('/loss')[2500], 7.5);
  assert.equal(epochs.column(groupPointer('a/b', 'mean_logp/columns'))[3], null, 'an emptied group has no value');
  assert.equal(epochs.first.epoch, 0);
  assert.equal(epochs.last.epoch, 2500);
});

test('live records fit on, twice changes nothing, a range is loaded later', async () => {
  serve(10);
  const epochs = new Epochs();
  await epochs.load('x', 9);
  for (const epoch of [8, 9, 10, 10, 11]) epochs.apply(record(epoch));
  assert.deepEqual(epochs.x, Array.from({ length: 12 }, (_, i) => i));
  serve(15);
  await epochs.loadRange('x', 12, 14);
  assert.equal(epochs.lastEpoch, 14);
});

test('a quantity that appears late has empty values before', () => {
  const epochs = new Epochs();
  epochs.apply({ epoch: 0, loss: 1, groups: {} });
  epochs.apply({ epoch: 1, loss: 1, objective: 2, groups: {} });
  assert.deepEqual(epochs.column('/objective'), [null, 2]);
  assert.deepEqual(epochs.column('/unknown'), [null, null]);
});

test('bands lie between the quantiles of a group, the outermost first', () => {
  const epochs = new Epochs();
  for (const epoch of [0, 1]) epochs.apply(record(epoch));
  assert.deepEqual(epochs.band('a/b', 'eval_quantiles'), [[[-9, -9], [-5, null]], [[-8, -8], [-6, -6]]]);
});

test('a long job is loaded as buckets and stays bounded, its last record exact', async () => {
  serve(100_300); // the job has run on since it was asked how far it is
  const epochs = new Epochs();
  await epochs.load('x', 99_999);
  assert.ok(requests.length < 6, `${requests.length} requests`);
  const asked = requests.flatMap((path) => new URL(path, 'http://server').searchParams.get('series')?.split(',') ?? []);
  for (const pointer of ['/holdout/log_z', '/tokens_by_exposure/7', '/holdout_n_by_count/0', groupPointer('a/b', 'eval/ln_mean_p'), groupPointer('a/b', 'eval_quantiles/4')]) assert.ok(asked.includes(pointer), pointer);
  assert.equal(new Set(asked).size, asked.length);
  assert.ok(epochs.x.length <= 1500);
  assert.equal(epochs.x.at(-1), 99_999);
  assert.equal(epochs.column(groupPointer('a/b', 'mean_logp/none')).at(-1), -99_999);
  for (let epoch = 100_000; epoch < 120_000; epoch++) epochs.apply(record(epoch));
  assert.ok(epochs.x.length <= 6000, `${epochs.x.length} points`);
  assert.equal(epochs.x.at(-1), 119_999);
  for (const column of epochs.columns.values()) assert.equal(column.length, epochs.x.length);
  assert.equal(epochs.column('/loss').at(-1), record(119_999).loss);
  assert.deepEqual([...epochs.x].sort((a, b) => a - b), epochs.x);
});

test('the curves of groups with long names fit into addresses that the server takes', async () => {
  const names = Array.from({ length: 8 }, (_, i) => `${'ж'.repeat(31)}${i}`); // 63 bytes each
  const fetched = [];
  globalThis.fetch = async (path) => {
    fetched.push(path);
    const query = new URL(path, 'http://server').searchParams;
    const series = Object.fromEntries((query.get('series') ?? '').split(',').map((pointer) => [pointer, { epoch: [0, 1], last: [1, 2] }]));
    const body = query.has('series') ? { series } : { epochs: [{ epoch: 9999, groups: Object.fromEntries(names.map((name) => [name, {}])) }] };
    return new Response(JSON.stringify(body), { headers: { 'Content-Type': 'application/json' } });
  };
  await new Epochs().load('x', 9999);
  const series = fetched.map((path) => new URL(path, 'http://server').searchParams.get('series')?.split(',') ?? []);
  assert.ok(Math.max(...fetched.map((path) => path.length)) < 8192);
  assert.ok(Math.max(...series.map((pointers) => pointers.length)) <= 64);
  for (const name of names) assert.ok(series.flat().includes(groupPointer(name, 'eval/target_loss')));
});

test('numbers say what they are, and never a zero for what is not there', () => {
  assert.equal(fixed(-10.8249, 3), '−10.825');
  assert.equal(fixed(-1004538804780781.6, 2), '−1.00 × 10¹⁵');
  assert.deepEqual([fixed(null), fixed(undefined), fixed(NaN), fixed(Infinity), significant(null)], ['–', '–', '–', '–', '–']);
  assert.equal(significant(0.0000213), '2.13 × 10⁻⁵');
  assert.equal(significant(0.226), '0.226');
  assert.equal(significant(1234.5), '1235');
  assert.equal(significant(0), '0');
  assert.deepEqual([0.2, 59.6, 61, 3600, 90061].map(duration), ['under 1 s', '1 min', '1 min 1 s', '1 h', '1 d 1 h']);
  assert.deepEqual([0, 999, 1500, 8e9].map(bytes), ['0 B', '999 B', '1.50 kB', '8.00 GB']);
});

test('a huge number has an exponent, whoever writes it, and an exact one all its digits', () => {
  const huge = [1e33, -2.5e20, Number.MAX_VALUE];
  const writers = [count, bytes, duration, exact, fixed, signed, significant, (value) => describe({ kind: 'number' }, value), (value) => describe({ kind: 'numbers' }, [value])];
  for (const value of huge) {
    for (const [i, write] of writers.entries()) assert.ok(/^[^e]*$/.test(write(value)) && write(value).length < 30, `${i}: ${write(value)}`);
    assert.match(count(value), /× 10[⁰¹²³⁴-⁹]+$/);
  }
  assert.deepEqual([148313, 1e14, 1e15].map(count), ['148,313', '100,000,000,000,000', '1.00 × 10¹⁵']);
  assert.deepEqual([0.05, 100000, 1e9, 123456789, 2 ** 53 - 1, 1e-8, -2.5e-7, 0].map(exact),
    ['0.05', '100000', '1 × 10⁹', '123456789', '9007199254740991', '1 × 10⁻⁸', '−2.5 × 10⁻⁷', '0']);
});

test('tokens show their invisible characters', () => {
  assert.equal(visible(' the'), '␣the');
  assert.equal(visible('\r\n\t\u0000'), '␍⏎⇥\\x00');
});

test('what is typed becomes a number only when it is one', () => {
  assert.deepEqual(['1e-3', ' 12 ', '-4', '.5'].map(typedNumber), [0.001, 12, -4, 0.5]);
  assert.deepEqual(['', 'fast', '0x10', '1,5', 'Infinity'].map(typedNumber), ['', 'fast', '0x10', '1,5', 'Infinity']);
  const tokens = [' the', 262, ' #5'];
  assert.deepEqual(textToTokens(tokensToText(tokens)), tokens);
});

test('ticks of an axis have the digits that tell them apart, and one exponent', () => {
  const ticks = (low, step, n = 3) => tickLabels(Array.from({ length: n }, (_, i) => low + i * step), step);
  assert.deepEqual(ticks(-5.545, 0.005), ['\u22125.545', '\u22125.540', '\u22125.535']);
  assert.deepEqual(ticks(0, 0.25), ['0.00', '0.25', '0.50']);
  assert.deepEqual(ticks(-10, 5), ['\u221210', '\u22125', '0']);
  assert.deepEqual(ticks(2e33, 5e32), ['2.0 × 10³³', '2.5 × 10³³', '3.0 × 10³³']);
  assert.deepEqual(ticks(0, 2e-6), ['0', '2 × 10⁻⁶', '4 × 10⁻⁶']);
  assert.deepEqual(ticks(-1, 1), ['\u22121', '0', '1']);
  assert.deepEqual(ticks(0, 1, 1), ['0']);
});

test('a mean has the decimals its interval needs, and zero has no sign', () => {
  assert.equal(interval({ mean: -0.00012, half: 0.00034 }), '\u22120.00012 ± 0.00034');
  assert.equal(interval({ mean: -5.54321, half: 1.2 }), '\u22125.543 ± 1.200');
  assert.equal(interval({ mean: 0, half: 0 }), '0.000 ± 0.000');
  assert.equal(interval({ mean: -0.00012, half: null }), '\u22120.00012');
  assert.equal(interval({ mean: -3e-11, half: 2e-11 }), '\u22123.0 × 10⁻¹¹ ± 2.0 × 10⁻¹¹');
  assert.equal(interval({ mean: null, half: null }), '–');
  assert.equal(fixed(-0.0001, 3), '0.000');
});

test('only the values of a diverged run are outliers', () => {
  const sound = [10.8, 10, 0.001, 0.0005, null];
  assert.equal(fence([sound, [1e-9, 0.9]]), null);
  assert.equal(fence([[2e6, 5e7, 9e5]]), null, 'large counts');
  const { low, high, clip, isOut } = fence([sound, [10.8, 1e33, -2e20]]);
  assert.deepEqual([low, high], [0.0005, 10.8]);
  assert.deepEqual([1e33, -2e20, 10.8].map(isOut), [true, true, false]);
  assert.ok(clip(1e33) > high && clip(1e33) < 100 && clip(-2e20) < low && clip(5) === 5);
});
