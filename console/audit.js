import { ask, element, page, when } from './session.js';

const FILTERS = [
  ['action', 'Action, e.g. api-key.create'],
  ['actor', 'Actor id'],
  ['resource', 'Resource id'],
  ['minRisk', 'Least risk'],
];
const RESULTS = ['', 'succeeded', 'refused', 'failed'];
const COLORS = { succeeded: 'info', refused: 'warning', failed: 'critical' };

page(async () => {
  const query = new URLSearchParams(location.search);
  const [{ items, nextCursor }, keys] = await Promise.all([ask(`/v1/audit/entries?${query}`), ask('/v1/audit/public-key').catch((error) => ({ refused: error.message }))]);
  const detail = element('aside', { class: 'sticky' }, element('p', { class: 'note' }, 'Choose an act to see it whole and to verify its proof in this browser.'));
  const rows = items.map(({ entry, personal }) =>
    element('tr', {},
      element('td', { class: 'number' }, String(entry.seq)),
      element('td', {}, when(entry.at)),
      element('td', {}, entry.action, ' ', element('span', { class: `tag ${COLORS[entry.result]}` }, entry.result)),
      element('td', { class: 'long' }, `${entry.actor.kind} ${entry.actor.id}`, element('div', { class: 'info' }, personal.address ?? '')),
      element('td', { class: 'long' }, `${entry.resource.kind} ${entry.resource.id}`),
      element('td', { class: 'number' }, entry.risk === 0 ? '' : String(entry.risk)),
      element('td', {}, element('button', { 'data-seq': entry.seq, click: () => void show(detail, entry.seq, keys) }, 'Verify')),
    ),
  );
  const head = ['Number', 'When', 'Act', 'Who', 'What', 'Risk', ''].map((title) => element('th', {}, title));
  return [
    element('h1', {}, 'Audit log'),
    filterForm(query),
    element('div', { class: 'split' },
      element('div', {},
        rows.length === 0 ? element('p', { class: 'note' }, 'No act matches.') : element('table', {}, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...rows)),
        ...(nextCursor === null ? [] : [element('p', {}, element('a', { href: `?${withCursor(query, nextCursor)}` }, 'Earlier acts'))]),
      ),
      detail,
    ),
  ];
});

function withCursor(query, cursor) {
  const next = new URLSearchParams(query);
  next.set('cursor', cursor);
  return next;
}

function filterForm(query) {
  const fields = FILTERS.map(([name, label]) => element('input', { name, placeholder: label, 'aria-label': label, value: query.get(name) ?? '' }));
  const result = element('select', { name: 'result', 'aria-label': 'Result' }, ...RESULTS.map((value) => element('option', { value, ...(query.get('result') === value ? { selected: '' } : {}) }, value === '' ? 'any result' : value)));
  return element('form', {
    class: 'filters',
    submit: (event) => {
      event.preventDefault();
      const chosen = [...new FormData(event.target)].filter(([, value]) => value !== '');
      location.search = new URLSearchParams(chosen).toString();
    },
  }, ...fields, result, element('button', {}, 'Filter'));
}

async function show(aside, seq, keys) {
  aside.replaceChildren(element('p', { class: 'note' }, 'Verifying ...'));
  try {
    const found = await ask(`/v1/audit/entries/${seq}`);
    const steps = await verify(found, keys);
    aside.replaceChildren(
      element('h2', {}, `Act ${seq}`),
      ...steps.map(({ ok, text }) => element('p', { class: ok ? 'verified' : 'problem' }, `${ok ? '✓' : '✗'} ${text}`)),
      element('pre', {}, JSON.stringify({ ...found.entry, personal: found.personal }, null, 2)),
    );
    aside.dataset.verified = String(steps.every(({ ok }) => ok));
  } catch (error) {
    aside.replaceChildren(element('p', { class: 'problem' }, error.message));
  }
}

/** Recomputes the leaf, the root and the signature; nothing of the server is believed but the key. */
async function verify({ entry, leafHash, inclusion }, keys) {
  const leaf = await sha256(Uint8Array.of(0), new TextEncoder().encode(canonical(entry)));
  const steps = [{ ok: base64(leaf) === leafHash, text: 'its content is what was hashed' }];
  if (inclusion === null || inclusion.checkpoint === null) return [...steps, { ok: false, text: 'it is in no checkpoint yet; try again in a second' }];
  const [body, signatures] = inclusion.checkpoint.split('\n\n');
  const [origin, size, root] = body.split('\n');
  const computed = await rootOf(BigInt(inclusion.leafIndex), BigInt(size), leaf, inclusion.proof.map(bytes));
  steps.push({ ok: inclusion.leafIndex === entry.seq && computed !== undefined && base64(computed) === root, text: `it is entry ${entry.seq} of the ${size} in the checkpoint` });
  if (keys.refused !== undefined) return [...steps, { ok: false, text: `no key to check the signature with: ${keys.refused}` }];
  steps.push({ ok: await isSigned(`${body}\n`, signatures, keys.log, origin), text: "the log's key signed the checkpoint" });
  return steps;
}

/** RFC 9162 section 2.1.3.2. */
async function rootOf(index, size, leaf, proof) {
  if (index >= size) return undefined;
  let [fn, sn, root] = [index, size - 1n, leaf];
  for (const hash of proof) {
    if (sn === 0n) return undefined;
    if ((fn & 1n) === 1n || fn === sn) {
      root = await sha256(Uint8Array.of(1), hash, root);
      while ((fn & 1n) === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else root = await sha256(Uint8Array.of(1), root, hash);
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n ? root : undefined;
}

async function isSigned(text, signatures, verifierKey, origin) {
  const [name, id, encoded] = [verifierKey.slice(0, verifierKey.indexOf('+')), ...verifierKey.slice(verifierKey.indexOf('+') + 1).split(/\+(.*)/s)];
  const line = signatures.split('\n').find((each) => each.startsWith(`— ${name} `));
  if (line === undefined || name !== origin) return false;
  const signature = bytes(line.slice(line.lastIndexOf(' ') + 1));
  if ([...signature.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, '0')).join('') !== id) return false;
  const key = await crypto.subtle.importKey('raw', bytes(encoded).subarray(1), 'Ed25519', false, ['verify']);
  return crypto.subtle.verify('Ed25519', key, signature.subarray(4), new TextEncoder().encode(text));
}

/** RFC 8785: members in the order of their UTF-16 code units; numbers and strings as JSON.stringify writes them. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`;
}

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', await new Blob(parts).arrayBuffer()));
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function base64(data) {
  return btoa(String.fromCharCode(...data));
}
