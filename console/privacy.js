import { ask, element, page, when } from './session.js';

const search = new URLSearchParams(location.search);
const chosen = search.get('erasure');
const LOOKS = { requested: 'info', collecting: 'info', waiting: 'warning', blocked: 'critical', erasing: 'info', complete: 'good', ready: 'good', denied: 'warning', expired: 'info', changing: 'info', superseded: 'info' };
const DAY_MS = 86_400_000;
/** What people were told since the page was opened, with a link somebody asked for. */
let said = null;
let redraw = () => Promise.resolve();

const tag = (state) => element('span', { class: `tag ${LOOKS[state] ?? 'info'}` }, state);
const table = (titles, rows, id) => element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': titles.filter(Boolean).join(', ') }, element('table', { id }, element('thead', {}, element('tr', {}, ...titles.map((title) => element('th', {}, title)))), element('tbody', {}, ...rows)));
const counted = (count, one, many) => `${count} ${count === 1 ? one : many}`;
const none = (text) => element('p', { class: 'note' }, text);

/** How long people still have; nothing once it has ended. */
function deadline({ dueAt, finishedAt }) {
  if (finishedAt !== null) return element('span', { class: 'info' }, Date.parse(finishedAt) <= Date.parse(dueAt) ? 'met' : 'missed');
  const days = Math.ceil((Date.parse(dueAt) - Date.now()) / DAY_MS);
  return element('span', { class: days < 0 ? 'critical' : days <= 7 ? 'warning' : '' }, days < 0 ? `${-days} days late` : days === 1 ? '1 day left' : `${days} days left`);
}

/** Asks for something, then draws the page again. */
const doing = (path, then) => async (event) => {
  event.target.disabled = true;
  try {
    said = await then(await ask(path, { method: 'POST', body: {} }));
  } catch (error) {
    said = [error.message];
  }
  await redraw();
};

function erasureRow(erasure) {
  const { id, state, requestedAt, dueAt, verification, reasons, hasReceipt } = erasure;
  return element('tr', { id: `erasure-${id}`, class: id === chosen ? 'chosen' : '' },
    element('td', {}, tag(state)),
    element('td', {}, element('a', { href: `?erasure=${id}` }, when(requestedAt)), element('div', { class: 'info' }, verification)),
    element('td', { title: when(dueAt) }, deadline(erasure)),
    element('td', { class: 'long' }, ...reasons.slice(0, 2).map((reason) => element('div', {}, reason)), ...(reasons.length > 2 ? [element('div', { class: 'info' }, `and ${reasons.length - 2} more`)] : [])),
    element('td', {}, hasReceipt ? 'signed' : ''),
  );
}

function exportRow({ id, state, requestedAt, verification, reasons, contents, expiresAt, downloads }) {
  const records = contents.reduce((sum, { records: count }) => sum + count, 0);
  return element('tr', { id: `export-${id}` },
    element('td', {}, tag(state)),
    element('td', {}, when(requestedAt), element('div', { class: 'info' }, verification)),
    element('td', {}, expiresAt === null ? '' : when(expiresAt)),
    element('td', { class: 'long' }, ...(reasons.length > 0 ? reasons.map((reason) => element('div', {}, reason)) : [state === 'requested' ? '' : `${counted(records, 'record', 'records')} of ${counted(new Set(contents.map(({ source }) => source)).size, 'system', 'systems')}, fetched ${counted(downloads, 'time', 'times')}`])),
    element('td', { class: 'actions' },
      ...(state === 'ready' ? [element('button', { type: 'button', click: doing(`/v1/privacy/exports/${id}/link`, ({ url, expiresAt: until }) => [`A link for the person, good until ${when(until)}: `, element('input', { value: url, readonly: '', size: 60, 'aria-label': 'Link' })]) }, 'Make a link')] : []),
      ...(state === 'blocked' ? [element('button', { type: 'button', click: doing(`/v1/privacy/exports/${id}/resume`, () => ['It tries again now.']) }, 'Try again now')] : []),
    ),
  );
}

function changeRow({ id, kind, topics, wanted, state, requestedAt, dueAt, finishedAt, verification, reasons }) {
  return element('tr', { id: `change-${id}` },
    element('td', {}, tag(state)),
    element('td', {}, `${kind}: ${topics.join(', ')}`, element('div', { class: 'info' }, wanted)),
    element('td', {}, when(requestedAt), element('div', { class: 'info' }, verification)),
    element('td', { title: when(dueAt) }, deadline({ dueAt, finishedAt })),
    element('td', { class: 'long' }, ...reasons.map((reason) => element('div', {}, reason)), ...(state === 'blocked' ? [element('button', { type: 'button', click: doing(`/v1/privacy/changes/${id}/resume`, () => ['It tries again now.']) }, 'Try again now')] : [])),
  );
}

/** One erasure: each system with what was found there, what stands in the way, what was kept and why, and the receipt. */
async function detail(id) {
  const erasure = await ask(`/v1/privacy/erasures/${id}`);
  const { state, tables, kept, reasons, finishedAt, hasReceipt, runId } = erasure;
  const sources = [...new Set([...tables, ...kept].map(({ source }) => source))];
  const ofSource = (source) => {
    const own = tables.filter((one) => one.source === source);
    const waiting = reasons.filter((reason) => reason.startsWith(`${source}: `));
    const done = finishedAt !== null && state === 'complete';
    return element('tr', { id: `source-${source}` },
      element('td', {}, source),
      element('td', {}, waiting.length > 0 ? tag('blocked') : done ? tag('complete') : tag(state)),
      element('td', {}, ...own.map(({ table: name, method, rows, shared }) => element('div', {}, `${name}: ${rows} ${method === 'none' ? 'kept' : method === 'mask' ? 'masked' : 'deleted'}${shared > 0 ? `, ${shared} shared with others stay` : ''}`))),
      element('td', { class: 'long' }, ...waiting.map((reason) => element('div', {}, reason.slice(source.length + 2))), ...own.filter(({ method }) => method === 'none').map(({ table: name, why }) => element('div', { class: 'info' }, `${name}: ${why}`))),
    );
  };
  const others = reasons.filter((reason) => !sources.some((source) => reason.startsWith(`${source}: `)));
  return element('section', { id: 'detail' },
    element('h1', { class: 'later' }, 'Erasure ', element('code', {}, id)),
    element('p', {}, tag(state), ' ', deadline(erasure), ' ', element('a', { href: `/console/run.html?id=${encodeURIComponent(runId)}` }, 'its run')),
    ...others.map((reason) => element('p', { class: 'critical' }, reason)),
    ...(state === 'blocked' ? [element('p', {}, element('button', { type: 'button', click: doing(`/v1/privacy/erasures/${id}/resume`, () => ['It tries again now.']) }, 'Try again now'))] : []),
    sources.length === 0 ? none('Nothing of the person was found yet.') : table(['System', 'State', 'Records', 'What stands in the way, or is kept'], sources.map(ofSource), 'sources'),
    ...(kept.length === 0 ? [] : [element('h3', {}, 'Found when looking again, and allowed to stay'), table(['System', 'Where', 'Records', 'Why'], kept.map(({ source, table: name, column, rows, why }) => element('tr', {}, element('td', {}, source), element('td', {}, `${name} ${column}`), element('td', { class: 'number' }, String(rows)), element('td', { class: 'long' }, why))), 'kept')]),
    hasReceipt ? await receipt(id) : none(finishedAt === null ? 'The receipt comes with the end.' : state === 'complete' ? 'The audit log does not vouch for the end yet.' : 'There is no receipt: nothing was destroyed.'),
  );
}

async function receipt(id) {
  const { receipt: jws } = await ask(`/v1/privacy/erasures/${id}/receipt`);
  const href = URL.createObjectURL(new Blob([`${jws}\n`], { type: 'application/jose' }));
  return element('p', {}, element('a', { id: 'receipt', href, download: `erasure-${id}.jws` }, 'Receipt'), element('span', { class: 'info' }, ' signed, with a proof that the audit log holds it; ', element('code', {}, 'hal9 privacy verify-receipt'), ' checks it without a server'));
}

page(async function draw() {
  const main = document.querySelector('main');
  redraw = async () => main.replaceChildren(...(await draw()));
  const [erasures, exports_, changes, holds, policy] = await Promise.all([ask('/v1/privacy/erasures?limit=50'), ask('/v1/privacy/exports?limit=50'), ask('/v1/privacy/changes?limit=50'), ask('/v1/privacy/holds?limit=50'), ask('/v1/privacy/policy')]);
  const inForce = holds.items.filter(({ releasedAt, until }) => releasedAt === null && (until === null || Date.parse(until) > Date.now()));
  const open = erasures.items.filter(({ finishedAt }) => finishedAt === null);
  const late = open.filter(({ dueAt }) => Date.parse(dueAt) < Date.now()).length;
  return [
    element('h1', {}, 'Privacy'),
    element('p', { class: 'note' }, `${counted(open.length, 'erasure is', 'erasures are')} open${late === 0 ? '' : `, ${late} of them late`}. They are due ${policy.deadlineDays} days after they were asked for; ${policy.approvals === 0 ? 'nobody is asked first' : `${policy.approvals} must agree first`}. ${inForce.length === 0 ? 'No legal hold is in force.' : `${counted(inForce.length, 'legal hold is', 'legal holds are')} in force.`}`),
    ...(said === null ? [] : [element('p', { class: 'note', role: 'status' }, ...said)]),
    ...(chosen === null ? [] : [await detail(chosen)]),
    element('h1', { class: 'later' }, 'Erasures'),
    erasures.items.length === 0 ? none('Nobody has asked to be forgotten.') : table(['State', 'Asked for', 'Deadline', 'Reasons', 'Receipt'], erasures.items.map(erasureRow), 'erasures'),
    element('h1', { class: 'later' }, 'Access exports'),
    exports_.items.length === 0 ? none('Nobody has asked for a copy.') : table(['State', 'Asked for', 'Until', 'Contents', ''], exports_.items.map(exportRow), 'exports'),
    element('h1', { class: 'later' }, 'Corrections, restrictions, consents'),
    changes.items.length === 0 ? none('Nothing was to be changed.') : table(['State', 'What', 'Asked for', 'Deadline', 'Reasons'], changes.items.map(changeRow), 'changes'),
    element('h1', { class: 'later' }, 'Legal holds'),
    inForce.length === 0 ? none('None.') : table(['Whom', 'What', 'Reason', 'Until'], inForce.map(({ id, everybody, source, table: name, reason, until }) => element('tr', { id: `hold-${id}` }, element('td', {}, everybody ? 'everybody' : 'a person'), element('td', {}, source === null ? 'everything' : `${source}: ${name}`), element('td', { class: 'long' }, reason), element('td', {}, until === null ? 'it is released' : when(until)))), 'holds'),
  ];
});
