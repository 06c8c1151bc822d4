// What the records of a spec will take in the server's database, computed before it is posted.
// The server tells the exact number as `record_bytes` (db/epochs.c); a test compares both. Pure.

const SCALARS = 91; // numbers of a record (config/record.h),
const FIELDS = 46; // and of each of its groups
const BUILT_IN = 3; // groups of every job
const PAGE = 4096; // of the database

// Epoch 0, every record_every-th one, and the last.
export function recordCount(epochs, every) {
  return Math.floor(epochs / every) + 1 + (epochs % every ? 1 : 0);
}

// A row that exceeds a page goes on in pages of its own, but for a part.
function rowBytes(groups, tokens) {
  const payload = (SCALARS + FIELDS * groups) * 8 + tokens * 4 + 16;
  const whole = PAGE - 35;
  const least = Math.floor(((PAGE - 12) * 32) / 255) - 23;
  const kept = least + ((payload - least) % (PAGE - 4));
  const local = payload <= whole ? payload : kept <= whole ? kept : least;
  const pages = Math.ceil((payload - local) / (PAGE - 4));
  return Math.floor(PAGE / Math.floor((PAGE - 8) / (local + 16))) + pages * PAGE + 24;
}

// null for a spec that is not complete.
export function recordBytes({ train = {}, groups = {}, data = {} }) {
  const { epochs, record_every: every = 1 } = train;
  if (![epochs, every, groups.size].every((value) => Number.isInteger(value) && value > 0)) return null;
  const custom = groups.custom ?? [];
  const { doses = [], tokens: dose = 0 } = data.inject ?? {};
  const tokens = BUILT_IN * groups.size + custom.reduce((sum, group) => sum + (group.tokens?.length ?? 0), 0) + doses.length * dose;
  return recordCount(epochs, every) * rowBytes(BUILT_IN + custom.length + doses.length, tokens);
}
