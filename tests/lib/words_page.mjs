// words_page: the loss of held-out words that training never saw, beside that of seen
// ones (docs/remedies.md), from the finished runs of page `words` that page_runs.mjs queued.
//   node tests/lib/words_page.mjs URL [URL...]
import { jobsOf, PAGES } from './page_runs.mjs';
import { cell, finishedRuns, provenance, recordsOf, table } from './page_tools.mjs';

const COLUMNS = { 'unseen, a word': 'unseen_word_loss', 'unseen, a token': 'unseen_word_token_loss', 'seen, a word': 'seen_word_loss', 'seen, a token': 'seen_word_token_loss' };
const runs = finishedRuns(await jobsOf(process.argv.slice(2), 'words'));
for (const run of runs) run.rows = (await recordsOf(run.url, run.job)).filter((record) => record['holdout.loss'] !== null);
const of = (setting) => runs.filter((run) => run.setting === setting).sort((a, b) => a.seed - b.seed);
const [baseline, ...remedies] = PAGES.words.map(({ setting }) => setting);

console.log(await provenance(runs));
const last = of(baseline)[0].rows.at(-1);
console.log(`${last['holdout.unseen_words']} unseen words of ${last['holdout.unseen_word_tokens']} tokens, ${last['holdout.seen_words']} seen words of ${last['holdout.seen_word_tokens']}`);
console.log(table(['', ...Object.keys(COLUMNS)], of(baseline)[0].rows.map(({ epoch }, i) => [
  `epoch ${epoch}`, ...Object.values(COLUMNS).map((column) => cell(of(baseline).map(({ rows }) => rows[i][`holdout.${column}`]))),
])));
const effect = (setting, column) => of(setting).flatMap((run) => of(baseline).filter(({ seed }) => seed === run.seed)
  .map((other) => run.rows.at(-1)[`holdout.${column}`] - other.rows.at(-1)[`holdout.${column}`]));
console.log(table(['minus the baseline, same seed', ...Object.keys(COLUMNS)], remedies.map((setting) => [
  setting, ...Object.values(COLUMNS).map((column) => cell(effect(setting, column), { sign: true })),
])));
