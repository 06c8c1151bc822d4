// Texts: how their bytes are sent, what their names may be, what a name stands for,
// and how a text is deleted.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import zlib from 'node:zlib';
import { removeFolder, startServer } from '../lib/server.mjs';
import { GULLIVER, submit, tiny } from '../lib/experiments.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const TEXT = Buffer.from('A voyage to Lilliput,\r\na voyage to Brobdingnag.\r\n'.repeat(50));
const RAW = { 'Content-Type': 'application/octet-stream' };
const ask = async (path, { method = 'GET', headers = {}, body, at = server } = {}) => {
  const answer = await at.api(path, { method, headers, body });
  const text = await answer.text();
  return { status: answer.status, location: answer.headers.get('location'), body: text ? JSON.parse(text) : null };
};
const upload = (name, body = TEXT, headers = RAW, more = {}) =>
  ask(`/corpora?name=${encodeURIComponent(name)}${more.query ?? ''}`, { method: 'POST', headers: { ...headers, ...more.headers }, body, at: more.at });
const names = async () => (await ask('/corpora')).body.corpora.map(({ name }) => name);

// ---- how the bytes are sent ----

const distorting = {
  'a form, as curl -d and --data-urlencode send it': { 'Content-Type': 'application/x-www-form-urlencoded' },
  'parts, as curl -F sends them': { 'Content-Type': 'multipart/form-data; boundary=x' },
  'JSON': { 'Content-Type': 'application/json' },
  'an empty type': { 'Content-Type': '' },
  'text in another charset': { 'Content-Type': 'text/plain; charset=iso-8859-1' },
  'bytes with a charset': { 'Content-Type': 'application/octet-stream; charset=utf-16' },
  'flowed text': { 'Content-Type': 'text/plain; format=flowed' },
};
for (const [what, headers] of Object.entries(distorting))
  test(`an upload of ${what} is refused with the curl line that sends the bytes`, async () => {
    const { status, body } = await upload('sent', TEXT, headers);
    assert.equal(status, 415, JSON.stringify(body));
    const { host } = new URL(server.url);
    assert.ok(body.detail.includes(`curl -T FILE -X POST -H 'Content-Type: application/octet-stream' 'http://${host}/api/v1/corpora?name=NAME'`), body.detail);
    assert.ok(!(await names()).includes('sent'));
  });

test('bytes, plain text in UTF-8 and a body without a type are uploads', async () => {
  const blobless = new Uint8Array(TEXT); // fetch adds no type to it
  for (const headers of [RAW, { 'Content-Type': 'text/plain' }, { 'Content-Type': 'Text/Plain; charset="UTF-8"' }, {}]) {
    const { status, body } = await upload('plain', blobless, headers);
    assert.ok([200, 201].includes(status), JSON.stringify(body));
    assert.equal(body.bytes, TEXT.length);
  }
});

test('a body that is encoded or a part of one is refused on every route', async () => {
  const json = { 'Content-Type': 'application/json' };
  const routes = [['/corpora?name=coded', RAW, TEXT], ['/jobs', json, '{}'], ['/tokenize', json, '{"text": "a"}'], ['/sweeps', json, '{}'], ['/users', json, '{}']];
  for (const [path, headers, body] of routes) {
    for (const coding of ['gzip', 'identity, br', 'aes128gcm']) {
      const answer = await ask(path, { method: 'POST', headers: { ...headers, 'Content-Encoding': coding }, body: zlib.gzipSync(body) });
      assert.deepEqual([answer.status, answer.body.detail.includes(coding)], [415, true], `${path} ${coding}: ${JSON.stringify(answer.body)}`);
    }
    const part = await ask(path, { method: 'POST', headers: { ...headers, 'Content-Range': 'bytes 0-9/100' }, body });
    assert.deepEqual([part.status, /Content-Range/.test(part.body.detail)], [400, true], `${path}: ${JSON.stringify(part.body)}`);
  }
  assert.ok(!(await names()).includes('coded'));
  assert.equal((await ask('/tokenize', { method: 'POST', headers: { ...json, 'Content-Encoding': 'identity' }, body: '{"text": "a"}' })).status, 200);
});

test('JSON is UTF-8: another charset is refused', async () => {
  const said = async (type) => (await ask('/tokenize', { method: 'POST', headers: { 'Content-Type': type }, body: '{"text": "a"}' })).status;
  assert.deepEqual([await said('application/json'), await said('Application/JSON; charset=UTF-8'), await said('application/json ;charset="utf-8"')], [200, 200, 200]);
  assert.deepEqual([await said('application/json; charset=utf-16'), await said('application/json; charset=latin1'), await said('application/json-seq')], [415, 415, 415]);
});

const raw = (text) => new Promise((resolve) => {
  const { hostname, port } = new URL(server.url);
  let answer = '';
  const socket = net.connect(Number(port), hostname, () => socket.write(text));
  socket.on('data', (data) => { answer += data; }).on('close', () => resolve(answer)).on('error', () => resolve(answer));
  socket.setTimeout(3000, () => socket.destroy());
});

test('two types of one body and a transfer coding other than chunked are refused', async () => {
  const head = 'POST /api/v1/tokenize HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n';
  const twice = await raw(`${head}Content-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n{"text": "a"}`);
  assert.match(twice, /^HTTP\/1.1 415/);
  for (const coding of ['gzip, chunked', 'gzip', 'identity'])
    assert.match(await raw(`${head}Content-Type: application/json\r\nTransfer-Encoding: ${coding}\r\n\r\nd\r\n{"text": "a"}\r\n0\r\n\r\n`), /^HTTP\/1.1 400/, coding);
  assert.match(await raw(`${head}Content-Type: application/json\r\nTransfer-Encoding: Chunked\r\n\r\nd\r\n{"text": "a"}\r\n0\r\n\r\n`), /^HTTP\/1.1 200/);
});

// ---- what a name may be ----

// Percent-encoded; every one is refused by the upload, in a spec and as the id of a text.
const unusable = {
  'two dots': '..', 'a hidden file': '.hidden', 'bytes that are not UTF-8': '%ff', 'a blank': '%20', 'a blank before it': '%20book',
  'a blank behind it': 'book%20', 'a no-break space in it': 'my%C2%A0book', 'only an ideographic space': '%E3%80%80',
  'a bidi override': '%E2%80%AEabc', 'a bidi isolate': 'a%E2%81%A6b', 'a zero-width space': 'gulliver%E2%80%8B', 'only a zero-width joiner': '%E2%80%8D',
  'a byte order mark': '%EF%BB%BFbook', 'a Hangul filler': '%E3%85%A4', 'a blank Braille cell': '%E2%A0%80', 'a tag character': 'a%F3%A0%81%A1',
  'a line separator': 'a%E2%80%A8b', 'a C1 control': 'a%C2%85b', 'a newline': 'a%0Ab', 'a slash': 'a%2Fb', 'a decomposed letter': 'e%CC%81tude',
  'full-width letters': '%EF%BD%87ulliver', 'a noncharacter': 'a%EF%BF%BF', 'nothing': '', '101 bytes': 'n'.repeat(101),
};
for (const [what, name] of Object.entries(unusable))
  test(`a name of ${what} is refused at every door`, async () => {
    const sent = await ask(`/corpora?name=${name}`, { method: 'POST', headers: RAW, body: TEXT });
    assert.deepEqual([sent.status, sent.body.errors?.[0].pointer], [422, 'name'], JSON.stringify(sent.body));
    const plain = Buffer.from(unescape(name), 'latin1');
    const spec = Buffer.concat([Buffer.from('{"corpus": {"id": "'), plain.toString('latin1') === 'a\nb' ? Buffer.from('a\\nb') : plain, Buffer.from('"}}')]);
    const job = await ask('/jobs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: spec });
    assert.deepEqual([job.status, job.body.errors?.[0].pointer], name === '%ff' ? [400, undefined] : [422, '/corpus/id'], JSON.stringify(job.body));
    if (name && name !== '..') { // a client would resolve ".." itself
      const shown = await ask(`/corpora/${name}`);
      assert.deepEqual([shown.status, shown.body.errors?.[0].pointer], name === '%ff' ? [400, undefined] : [422, 'id'], JSON.stringify(shown.body));
    }
  });

test('a name in any script can be used at every door', async () => {
  for (const name of ['Das Käthchen', '吾輩は猫である', 'Гулливер', 'रामायण', 'a', '100%', 'book.v2', '🐎', 'n'.repeat(100)]) {
    const sent = await upload(name);
    assert.deepEqual([sent.status, sent.body.name], [201, name], JSON.stringify(sent.body));
    assert.equal((await ask(`/corpora/${encodeURIComponent(name)}`)).body.id, sent.body.id);
    const job = await ask('/jobs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ corpus: { id: name }, groups: { size: 100 } }) });
    assert.deepEqual(job.body.errors?.map(({ pointer }) => pointer), ['/groups/size'], JSON.stringify(job.body)); // the text itself was found
  }
});

test('a zero byte does not end a parameter', async () => {
  const { status, body } = await ask('/corpora?name=abc%00def', { method: 'POST', headers: RAW, body: TEXT });
  assert.deepEqual([status, body.errors?.[0].pointer], [422, 'name'], JSON.stringify(body));
  assert.equal((await ask('/jobs?state=queued%00x')).status, 422);
});

// ---- what a name stands for ----

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const OTHER = Buffer.from('Call me Ishmael. Some years ago, never mind how long precisely.\n'.repeat(40));
// A request's own file goes when the request ends, which is after its answer was sent.
async function stored(at = server) {
  const files = () => fs.readdirSync(path.join(at.dataDir, 'corpora')).sort();
  for (let tries = 0; tries < 100 && files().some((name) => name.startsWith('.upload-')); tries++) await sleep(20);
  return files();
}

// A server whose corpus_path is a folder with these files.
async function withTexts(files, args, use) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-texts-'));
  for (const [name, bytes] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), bytes);
  let at;
  try {
    at = await startServer({ args, env: { TOKENFATE_CORPUS_PATH: folder } });
    await use(at, folder);
  } finally {
    await at?.stop();
    removeFolder(folder);
  }
}

test('names of built-in texts and of texts in corpus_path are not given to other bytes', async () => {
  await withTexts({ 'pg829.txt': TEXT, 'moby.txt': OTHER }, [], async (at) => {
    const more = Buffer.concat([OTHER, TEXT]);
    const names = ['gulliver', 'GULLIVER', 'gulliv\u00e9r', 'gulliv\u0435r', 'pg829.txt', 'PG829.TXT', 'gulliver-synthetic', 'Gulliver-Synthetic', 'moby.txt', 'Moby.txt'];
    for (const name of names)
      for (const query of ['', '&replace=true']) {
        const { status, body } = await upload(name, more, RAW, { at, query });
        assert.deepEqual([status, /reserved/.test(body.detail)], [409, true], `${name}${query}: ${JSON.stringify(body)}`);
      }
    assert.deepEqual(await stored(at), [sha256(TEXT)]);
    const text = async (id) => (await ask(`/corpora/${id}`, { at })).body.id;
    assert.deepEqual([await text('gulliver'), await text('Gulliver')], [sha256(TEXT), sha256(TEXT)]);
    const same = await upload('Gulliver', TEXT, RAW, { at });
    assert.deepEqual([same.status, same.body.name, same.body.id], [200, 'gulliver', sha256(TEXT)], JSON.stringify(same.body));
    assert.equal((await upload('moby.txt', OTHER, RAW, { at })).status, 201); // the text that the name is reserved for
    assert.equal((await upload('\u0413\u0443\u043b\u043b\u0438\u0432\u0435\u0440', more, RAW, { at })).status, 201); // a word of another script
    assert.equal((await upload('gulliver-2', more, RAW, { at })).status, 201);
  });
});

test('where a known text is missing, its name takes that text alone', async () => {
  await withTexts({}, [], async (at) => {
    const { status, body } = await upload('gulliver', OTHER, RAW, { at });
    assert.deepEqual([status, /reserved.*695e3237/.test(body.detail)], [409, true], JSON.stringify(body));
    if (GULLIVER) {
      assert.equal((await upload('GULLIVER', fs.readFileSync(GULLIVER), RAW, { at })).status, 201);
      assert.equal((await submit(at, tiny({ corpus: { id: 'gulliver' } }))).spec.corpus.id, sha256(fs.readFileSync(GULLIVER)));
    }
  });
});

test('other bytes under a taken name are refused unless they are to replace it', async () => {
  const first = await upload('book', TEXT);
  assert.equal(first.status, 201);
  for (const name of ['book', 'BOOK', 'Book']) {
    const { status, body } = await upload(name, OTHER);
    assert.deepEqual([status, /book.*replace=true/.test(body.detail)], [409, true], JSON.stringify(body));
  }
  assert.equal((await ask('/corpora/book')).body.id, sha256(TEXT));
  const again = await upload('BOOK', TEXT);
  assert.deepEqual([again.status, again.body.name, again.body.id], [200, 'book', first.body.id]);
  assert.deepEqual((await upload('book', OTHER, RAW, { query: '&replace=perhaps' })).body.errors?.map(({ pointer }) => pointer), ['replace']);
  assert.equal((await upload('book', OTHER, RAW, { query: '&replace=false' })).status, 409);
  const replaced = await upload('Book', OTHER, RAW, { query: '&replace=true' });
  assert.deepEqual([replaced.status, replaced.body.name, replaced.body.id], [201, 'book', sha256(OTHER)], JSON.stringify(replaced.body));
  assert.equal((await ask('/corpora/book')).body.id, sha256(OTHER));
  assert.equal((await ask(`/corpora/${first.body.id}`)).status, 200, 'the text that was replaced keeps its address');
});

test('of uploads of different bytes under one name at the same time one is stored', async () => {
  const texts = Array.from({ length: 8 }, (_, i) => Buffer.concat([TEXT, Buffer.from(`${i}`.repeat(100))]));
  const before = await stored();
  const answers = await Promise.all(texts.map((text, i) => upload(i % 2 ? 'RACE' : 'race', text)));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, ...Array(7).fill(409)], JSON.stringify(answers));
  const [{ body }] = answers.filter(({ status }) => status === 201);
  assert.deepEqual((await stored()).filter((name) => !before.includes(name)), [body.id], 'the files of the refused ones are gone');
});

test('a name is replaced by its owner and by administrators alone', async () => {
  await withTexts({}, ['--auth', 'on'], async (at) => {
    const admin = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(at.log())[1];
    const json = { Authorization: `Bearer ${admin}`, 'Content-Type': 'application/json' };
    const token = {};
    for (const name of ['ada', 'ben']) {
      assert.equal((await ask('/users', { method: 'POST', headers: json, body: JSON.stringify({ name }), at })).status, 201);
      token[name] = (await ask(`/users/${name}/tokens`, { method: 'POST', headers: json, body: '{}', at })).body.token;
    }
    const by = (who, bytes, query = '') => upload('book', bytes, RAW, { at, query, headers: { Authorization: `Bearer ${token[who] ?? admin}` } });
    assert.equal((await by('ada', TEXT)).status, 201);
    assert.equal((await by('ben', OTHER)).status, 409);
    const refused = await by('ben', OTHER, '&replace=true');
    assert.deepEqual([refused.status, /ada/.test(refused.body.detail)], [403, true], JSON.stringify(refused.body));
    assert.deepEqual(await stored(at), [sha256(TEXT)]);
    const same = await by('ben', TEXT, '&replace=true');
    assert.deepEqual([same.status, same.body.user], [200, 'ada']);
    assert.equal((await by('admin', OTHER)).status, 409);
    assert.equal((await by('ada', OTHER, '&replace=true')).status, 201);
    assert.equal((await by('admin', TEXT, '&replace=true')).status, 201);
  });
});

// ---- deletion ----

const drop = (id, at = server, headers = {}) => ask(`/corpora/${encodeURIComponent(id)}`, { method: 'DELETE', headers, at });
const fresh = (word) => Buffer.from(`${word} is a word of its own in this text.\n`.repeat(60));

test('a text is deleted with its file, and can come back', async () => {
  const { body } = await upload('gone', fresh('gone'));
  assert.ok((await stored()).includes(body.id));
  assert.equal((await drop('GONE')).status, 204);
  assert.ok(!(await stored()).some((name) => name.includes(body.id)), (await stored()).join());
  assert.ok(!(await names()).includes('gone'));
  for (const id of ['gone', body.id]) assert.deepEqual([(await ask(`/corpora/${id}`)).status, (await drop(id)).status], [404, 404]);
  assert.equal((await upload('gone', fresh('gone'))).status, 201);
  assert.equal((await drop(body.id)).status, 204);
  assert.deepEqual([(await drop('gulliver-synthetic')).status, (await drop('.hidden')).status], [409, 422]);
});

test('a text that jobs use stays, and the answer names the jobs', async () => {
  const { body } = await upload('used', fresh('used'));
  const jobs = [];
  for (let seed = 0; seed < 2; seed++)
    jobs.push(await submit(server, tiny({ corpus: { id: 'used' }, groups: { size: 2 }, train: { epochs: 2, seed } })));
  for (const id of ['used', body.id]) {
    const { status, body: problem } = await drop(id);
    assert.deepEqual([status, jobs.every((job) => problem.detail.includes(job.id))], [409, true], JSON.stringify(problem));
  }
  assert.ok((await stored()).includes(body.id));
  for (const { id } of jobs) {
    await ask(`/jobs/${id}/cancel`, { method: 'POST' });
    for (let state; !['succeeded', 'failed', 'cancelled'].includes(state); ) ({ state } = (await ask(`/jobs/${id}?wait=5`)).body);
    assert.equal((await ask(`/jobs/${id}`, { method: 'DELETE' })).status, 204);
  }
  assert.equal((await drop('used')).status, 204);
});

test('a text with two names loses one of them, its address loses all', async () => {
  const text = fresh('twice');
  const { body } = await upload('one name', text);
  await upload('other name', text);
  assert.equal((await drop('one name')).status, 204);
  assert.deepEqual([(await ask('/corpora/one%20name')).status, (await ask('/corpora/other%20name')).body.id], [404, body.id]);
  await upload('one name', text);
  assert.equal((await drop(body.id)).status, 204);
  assert.deepEqual((await names()).filter((name) => / name$/.test(name)), []);
  assert.ok(!(await stored()).includes(body.id));
});

test('a name whose text is deleted does not fall back to an older text', async () => {
  const [old, young] = [fresh('older'), fresh('younger')];
  await upload('back', old);
  await upload('back', young, RAW, { query: '&replace=true' });
  assert.equal((await drop('back')).status, 204);
  assert.equal((await ask('/corpora/back')).status, 404);
  assert.equal((await ask(`/corpora/${sha256(old)}`)).status, 200);
  const again = await upload('back', old);
  assert.deepEqual([again.status, again.body.name], [201, 'back']);
  assert.equal((await ask(`/corpora/${sha256(old)}`)).body.name, 'back');
  assert.equal((await drop(sha256(old))).status, 204);
});

test('a text is deleted by its owner and by administrators alone', async () => {
  await withTexts({}, ['--auth', 'on'], async (at) => {
    const admin = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(at.log())[1];
    const bearer = (token) => ({ Authorization: `Bearer ${token}` });
    const json = { ...bearer(admin), 'Content-Type': 'application/json' };
    const token = {};
    for (const name of ['ada', 'ben']) {
      assert.equal((await ask('/users', { method: 'POST', headers: json, body: JSON.stringify({ name }), at })).status, 201);
      token[name] = (await ask(`/users/${name}/tokens`, { method: 'POST', headers: json, body: '{}', at })).body.token;
    }
    const put = async (who, name) => assert.equal((await upload(name, TEXT, RAW, { at, headers: bearer(token[who]) })).status, 201);
    await put('ada', 'hers');
    assert.equal((await drop('hers', at)).status, 401);
    const refused = await drop('hers', at, bearer(token.ben));
    assert.deepEqual([refused.status, /ada/.test(refused.body.detail)], [403, true]);
    await put('ben', 'his');
    assert.equal((await drop(sha256(TEXT), at, bearer(token.ada))).status, 403, 'another name of the text is of ben');
    assert.equal((await drop('hers', at, bearer(token.ada))).status, 204);
    assert.deepEqual(await stored(at), [sha256(TEXT)]);
    assert.equal((await drop('his', at, bearer(admin))).status, 204);
    assert.deepEqual(await stored(at), []);
  });
});

test('a known text of corpus_path is not deleted: it would be back at the next start', async () => {
  await withTexts({ 'pg829.txt': TEXT, 'moby.txt': OTHER }, [], async (at) => {
    assert.equal((await upload('alias', TEXT, RAW, { at })).status, 201);
    assert.equal((await upload('moby.txt', OTHER, RAW, { at })).status, 201);
    const { corpora } = await (await at.api('/corpora')).json();
    assert.deepEqual(Object.fromEntries(corpora.map(({ name, reserved }) => [name, reserved])),
      { 'gulliver-synthetic': true, gulliver: true, alias: false, 'moby.txt': false });
    for (const id of ['gulliver', 'GULLIVER', sha256(TEXT)]) {
      const { status, body } = await drop(id, at);
      assert.deepEqual([status, /corpus_path/.test(body?.detail)], [409, true], `${id}: ${JSON.stringify(body)}`);
    }
    assert.deepEqual([(await drop('alias', at)).status, (await drop('moby.txt', at)).status], [204, 204]);
    assert.deepEqual(await stored(at), [sha256(TEXT)]);
  });
});

test('what a killed server left of a deletion is ended at the next start', async () => {
  const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-test-'));
  const corpora = path.join(dataDir, 'corpora');
  const [kept, lost] = [fresh('kept'), fresh('lost')].map((text) => ({ text, id: sha256(text) }));
  try {
    let at = await startServer({ dataDir });
    await upload('kept', kept.text, RAW, { at });
    await at.stop();
    fs.writeFileSync(path.join(corpora, `.deleted-${kept.id}`), ''); // killed before the row went
    fs.writeFileSync(path.join(corpora, `.deleted-${lost.id}`), ''); // killed after it
    fs.writeFileSync(path.join(corpora, lost.id), lost.text);
    at = await startServer({ dataDir });
    assert.equal((await ask('/corpora/kept', { at })).body.id, kept.id);
    await at.stop();
    assert.deepEqual(fs.readdirSync(corpora).filter((name) => /deleted/.test(name) || name === lost.id), []);
  } finally { removeFolder(dataDir); }
});

const json = { 'Content-Type': 'application/json' };
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test('uploads and deletions of the same bytes at the same time leave no row without its file', async () => {
  const text = fresh('raced');
  const id = sha256(text);
  for (let round = 0; round < 25; round++) {
    await upload('raced', text);
    const answers = await Promise.all([drop(id), upload('raced too', text), drop('raced'), upload('raced', text)]);
    assert.ok(answers.every(({ status }) => [200, 201, 204, 404].includes(status)), JSON.stringify(answers));
    assert.equal((await ask('/corpora')).body.corpora.some((corpus) => corpus.id === id), (await stored()).includes(id));
  }
  await drop(id);
});

test('a text that is deleted while a job of it is submitted takes the job or stays', async () => {
  for (let round = 0; round < 8; round++) {
    const text = Buffer.concat([fresh('slow'), Buffer.from(Array.from({ length: 60000 }, (_, i) => `${(i * 7919 + round) % 9973} `).join(''))]);
    const { body } = await upload('slow', text); // large: the job is checked against it for a while
    const submitted = ask('/jobs', { method: 'POST', headers: json, body: JSON.stringify(tiny({ corpus: { id: 'slow' }, train: { epochs: 1 } })) });
    await pause(8 * round);
    const dropped = await drop('slow');
    const job = await submitted;
    assert.ok([201, 422].includes(job.status) && [204, 409].includes(dropped.status), `${JSON.stringify(job)} ${JSON.stringify(dropped)}`);
    assert.equal(job.status === 201, dropped.status === 409, `${JSON.stringify(job.body)} ${JSON.stringify(dropped.body)}`);
    assert.equal((await stored()).includes(body.id), job.status === 201);
    if (job.status !== 201) continue;
    await ask(`/jobs/${job.body.id}/cancel`, { method: 'POST' });
    for (let state; !['succeeded', 'failed', 'cancelled'].includes(state); ) ({ state } = (await ask(`/jobs/${job.body.id}?wait=5`)).body);
    assert.equal((await ask(`/jobs/${job.body.id}`, { method: 'DELETE' })).status, 204);
    assert.equal((await drop('slow')).status, 204);
  }
});
