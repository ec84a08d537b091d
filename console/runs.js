import { bulkBar, collect, perform } from './bulk.js';
import { actor, ago, duration, runLink, say, shortId, shownStatus, statusTag, took } from './run-words.js';
import { schemaForm } from './schema-form.js';
import { ask, element, page } from './session.js';

const PAGE = 50;
const REFRESH_MS = 3000;
const STATUSES = ['running', 'completed', 'failed', 'timed-out', 'cancelled', 'terminated'];
const ORIGINS = { 'api': 'people and programs', 'decision': 'decisions', 'automation': 'automations', 'schedule': 'schedules', 'dispatcher': 'HAL9 itself' };
const TIMES = { '1': 'last hour', '24': 'last 24 hours', '168': 'last 7 days', '720': 'last 30 days' };
const FILTERS = ['type', 'status', 'tag', 'failure', 'origin'];

/** What is on the page, taken from its address. */
const query = new URLSearchParams(location.search);
const view = query.get('view') === 'failures' ? 'failures' : 'all';
/** Cursors of the pages before, so that one can go back. */
const earlier = [];
let cursor;
const chosen = new Map();
let live = true;

/** The query that the address stands for, as the API takes it. */
function filter() {
  const wanted = new URLSearchParams();
  for (const name of FILTERS) if (query.get(name)) wanted.set(name, query.get(name));
  if (wanted.get('origin') === 'all') wanted.delete('origin');
  // Each batch of signals is a run of HAL9's own: a list of all would show little else.
  else if (!['origin', 'type', 'failure', 'tag'].some((name) => query.get(name))) wanted.set('origin', Object.keys(ORIGINS).filter((origin) => origin !== 'dispatcher').join(','));
  const hours = Number(query.get('hours'));
  if (hours > 0) wanted.set('from', new Date(Date.now() - hours * 3_600_000).toISOString());
  return wanted;
}

function go(changes) {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.set(name, value);
    else next.delete(name);
  }
  location.search = next.toString();
}

function filters(operations) {
  const select = (name, label, options, unset = 'any') =>
    element('label', { class: 'filter' }, element('span', {}, label), element('select', { name, change: ({ target }) => go({ [name]: target.value }) }, element('option', { value: '' }, unset), ...options.map(([value, text]) => element('option', { value, ...(query.get(name) === value ? { selected: '' } : {}) }, text))));
  const text = (name, label, list) => element('label', { class: 'filter' }, element('span', {}, label), element('input', { name, value: query.get(name) ?? '', autocomplete: 'off', placeholder: 'any', ...(list === undefined ? {} : { list }) }));
  const active = [...FILTERS, 'hours'].some((name) => query.get(name));
  return element('form', {
    class: 'run-filters',
    id: 'filters',
    role: 'search',
    submit: (event) => {
      event.preventDefault();
      go(Object.fromEntries(new FormData(event.target)));
    },
  },
    select('type', 'Operation', operations.map(({ type }) => [type, type])),
    ...(view === 'all' ? [select('status', 'Status', STATUSES.map((status) => [status, status]))] : []),
    ...(view === 'all' ? [select('origin', 'Started by', [...Object.entries(ORIGINS), ['all', 'anybody']], 'anybody but HAL9'), text('tag', 'Tag'), text('failure', 'Failure')] : []),
    select('hours', view === 'all' ? 'Started' : 'Ended', Object.entries(TIMES)),
    element('button', { class: 'unseen' }, 'Filter'),
    active ? element('button', { type: 'button', id: 'clear', click: () => go({ ...Object.fromEntries(FILTERS.map((name) => [name, ''])), hours: '' }) }, 'Clear') : undefined,
  );
}

function row(run, redraw) {
  const { runId, operation, tags, startedAt, startedBy, origin, failure } = run;
  const box = element('input', {
    'type': 'checkbox',
    'aria-label': `Choose ${operation} ${shortId(runId)}`,
    'change': ({ target }) => {
      if (target.checked) chosen.set(runId, run);
      else chosen.delete(runId);
      redraw();
    },
  });
  box.checked = chosen.has(runId);
  return element('tr', { 'data-run': runId },
    element('td', { class: 'box' }, box),
    element('td', { class: 'run' }, runLink(runId, operation), element('code', {}, shortId(runId)), ...tags.map((tag) => element('a', { class: 'chip', href: `?tag=${encodeURIComponent(tag)}` }, tag))),
    element('td', { class: 'state' }, statusTag(shownStatus(run)), failure === null ? undefined : element('a', { class: 'failure', href: `?${new URLSearchParams({ failure, type: operation })}` }, failure)),
    element('td', { 'class': 'when', 'data-label': 'Started' }, ago(startedAt)),
    element('td', { 'class': 'number', 'data-label': 'Took' }, took(run)),
    element('td', { 'class': 'by', 'data-label': 'By' }, actor(startedBy), ['api', 'dispatcher'].includes(origin) ? undefined : element('small', {}, origin)),
  );
}

/** The list: drawn again by itself while one looks at the newest page. */
async function list() {
  const bar = element('div', { id: 'bulk' });
  const report = element('div', { class: 'report' });
  const body = element('tbody', {});
  const all = element('input', { 'type': 'checkbox', 'aria-label': 'Choose all on this page' });
  const pager = element('nav', { 'class': 'pager', 'aria-label': 'Pages of the list' });
  const empty = element('div', { class: 'empty' });
  const table = element('table', { class: 'runs' },
    element('thead', {}, element('tr', {}, element('th', { class: 'box' }, all), ...['Run', 'Status', 'Started', 'Took', 'By'].map((title) => element('th', { scope: 'col', ...(title === 'Took' ? { class: 'number' } : {}) }, title)))),
    body);
  let items = [];
  let next = null;
  let drawn = '';

  const drawBar = () => {
    all.checked = items.length > 0 && items.every(({ runId }) => chosen.has(runId));
    all.indeterminate = !all.checked && items.some(({ runId }) => chosen.has(runId));
    bar.replaceChildren(...bulkBar({
      chosen: [...chosen.values()],
      report,
      everything: next !== null && all.checked ? { filter: filter(), take: (runs) => {
        for (const run of runs) chosen.set(run.runId, run);
        drawBar();
      } } : undefined,
      done: async () => {
        chosen.clear();
        await load();
      },
      clear: () => {
        chosen.clear();
        draw();
      },
    }));
  };
  const draw = () => {
    body.replaceChildren(...items.map((run) => row(run, drawBar)));
    table.hidden = items.length === 0;
    empty.replaceChildren(...(items.length === 0 ? nothing() : []));
    pager.replaceChildren(
      element('button', { type: 'button', ...(earlier.length === 0 ? { disabled: '' } : {}), click: () => turn(earlier.pop()) }, '← Newer'),
      element('button', { type: 'button', id: 'older', ...(next === null ? { disabled: '' } : {}), click: () => {
        earlier.push(cursor);
        turn(next);
      } }, 'Older →'),
    );
    pager.hidden = earlier.length === 0 && next === null;
    drawBar();
  };
  const turn = (to) => {
    cursor = to;
    void load().then(() => window.scrollTo({ top: 0 }), (error) => say(error.message, 'critical'));
  };
  const load = async () => {
    const wanted = filter();
    wanted.set('limit', String(PAGE));
    if (cursor !== undefined) wanted.set('cursor', cursor);
    const answer = await ask(`/v1/runs?${wanted}`);
    const text = JSON.stringify(answer);
    // What did not change is left alone, so that nothing jumps under the pointer; open runs get older.
    if (text === drawn && !answer.items.some(({ status }) => status === 'running')) return;
    drawn = text;
    const focused = document.activeElement?.closest?.('tr')?.dataset.run;
    ({ items, nextCursor: next } = answer);
    draw();
    if (focused !== undefined) body.querySelector(`tr[data-run="${CSS.escape(focused)}"] input`)?.focus({ preventScroll: true });
  };
  all.addEventListener('change', () => {
    for (const run of items) {
      if (all.checked) chosen.set(run.runId, run);
      else chosen.delete(run.runId);
    }
    draw();
  });
  await load();
  const again = async () => {
    if (!table.isConnected) return;
    if (live && cursor === undefined && !document.hidden && document.querySelector('dialog[open]') === null) {
      await load().then(() => document.body.classList.remove('stale'), () => document.body.classList.add('stale'));
    }
    setTimeout(() => void again(), REFRESH_MS);
  };
  setTimeout(() => void again(), REFRESH_MS);
  return [bar, report, table, empty, pager];
}

function nothing() {
  const filtered = [...FILTERS, 'hours'].some((name) => query.get(name));
  return filtered
    ? [element('h2', {}, 'No run matches'), element('p', { class: 'note' }, 'Take a filter away to see more.')]
    : [element('h2', {}, 'Nothing has run yet'), element('p', { class: 'note' }, 'Start a run here, send a signal that a neuron acts on, or let a schedule start one.')];
}

/** Failed runs by what failed: the first thing to look at after a bad night. */
async function failures() {
  const wanted = new URLSearchParams();
  for (const name of ['type', 'from']) if (filter().get(name)) wanted.set(name, filter().get(name));
  const { items } = await ask(`/v1/runs/failures?${wanted}`);
  if (items.length === 0) return [element('div', { class: 'empty' }, element('h2', {}, 'No run failed'), element('p', { class: 'note' }, query.get('hours') ? 'Within the time chosen.' : 'Within the last seven days.'))];
  const most = Math.max(...items.map(({ count }) => count));
  return [element('ul', { class: 'groups' }, ...items.map(({ operation, failure, count, firstAt, lastAt, samples }) => {
    const which = new URLSearchParams({ type: operation, failure });
    return element('li', {},
      element('div', { class: 'group-head' }, element('strong', {}, operation), element('span', { class: 'failure' }, failure), element('span', { class: 'count' }, `${count} ${count === 1 ? 'run' : 'runs'}`)),
      element('svg', { 'class': 'share', 'viewBox': '0 0 100 4', 'preserveAspectRatio': 'none', 'aria-hidden': 'true' }, element('rect', { class: 'back', width: 100, height: 4 }), element('rect', { class: 'part', width: Math.max(1, (100 * count) / most), height: 4 })),
      element('p', { class: 'note' }, 'Last ', ago(lastAt), ', first ', ago(firstAt), '. Latest: ', ...samples.slice(0, 3).flatMap((id, index) => [index === 0 ? '' : ', ', runLink(id)])),
      element('div', { class: 'bar' },
        element('a', { class: 'button', href: `?${which}` }, 'Show runs'),
        element('button', { type: 'button', click: async ({ currentTarget: button }) => {
          button.disabled = true;
          try {
            const runs = await collect(which);
            await retryAll(runs, operation, failure);
          } catch (error) {
            say(error.message, 'critical');
          } finally {
            button.disabled = false;
          }
        } }, 'Retry all')),
    );
  }))];
}

async function retryAll(runs, operation, failure) {
  const open = runs.filter(({ retriedBy }) => !retriedBy);
  if (open.length === 0) return say('Each of them was retried already.');
  const holder = element('div', {});
  document.querySelector('main').prepend(holder);
  await perform('retry', open, holder, `${operation} that failed with ${failure}`);
}

async function startDialog(operations) {
  const startable = operations.filter(({ exposure }) => exposure === 'public');
  const place = element('div', {});
  let form;
  let operation;
  const choose = (type) => {
    operation = startable.find((each) => each.type === type) ?? startable[0];
    form = schemaForm(operation.input, 'start');
    place.replaceChildren(
      element('p', { class: 'note' }, operation.summary, ...(operation.effect === 'irreversible' ? [element('span', { class: 'tag warning' }, 'cannot be undone')] : [])),
      form.made,
      element('details', {}, element('summary', {}, 'More'),
        element('div', { class: 'fields' },
          element('div', { class: 'field' }, element('label', { for: 'start-tags' }, 'Tags'), element('input', { id: 'start-tags', placeholder: 'nightly, eu', autocomplete: 'off' }), element('small', {}, 'To find the run by. No personal data.')),
          element('div', { class: 'field' }, element('label', { for: 'start-delay' }, 'Begin after, seconds'), element('input', { id: 'start-delay', type: 'number', min: 0, max: 31_536_000 })))),
    );
  };
  const problem = element('p', { class: 'problem', role: 'alert', hidden: '' });
  const button = element('button', { class: 'chief' }, 'Start');
  // One key for the dialog: sent twice it is one run.
  const key = crypto.randomUUID();
  const dialog = element('dialog', { 'aria-label': 'Start a run', 'class': 'start', 'close': () => dialog.remove() },
    element('h2', {}, 'Start a run'),
    element('form', {
      id: 'start',
      submit: async (event) => {
        event.preventDefault();
        problem.hidden = true;
        button.disabled = true;
        try {
          const tags = dialog.querySelector('#start-tags').value.split(',').map((tag) => tag.trim()).filter(Boolean);
          const delay = dialog.querySelector('#start-delay').value;
          const body = { input: form.read(), ...(tags.length === 0 ? {} : { tags }), ...(delay === '' ? {} : { delaySeconds: Number(delay) }) };
          const run = await ask(`/v1/workflows/${operation.type}/runs`, { method: 'POST', body, headers: { 'Idempotency-Key': `${key}-${await digest(JSON.stringify([operation.type, body]))}` } });
          location.assign(`/console/run.html?id=${encodeURIComponent(run.runId)}`);
        } catch (error) {
          problem.textContent = error.message;
          problem.hidden = false;
          button.disabled = false;
        }
      },
    },
      element('div', { class: 'field' }, element('label', { for: 'start-type' }, 'Operation'), element('select', { id: 'start-type', change: ({ target }) => choose(target.value) }, ...startable.map(({ type }) => element('option', { value: type, ...(type === query.get('type') ? { selected: '' } : {}) }, type)))),
      place, problem,
      element('div', { class: 'bar end' }, element('button', { type: 'button', click: () => dialog.close() }, 'Back'), button)),
  );
  choose(query.get('type') ?? '');
  document.body.append(dialog);
  dialog.showModal();
}

/** The same content is the same start; changed content after a refusal is another. */
async function digest(text) {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

page(async () => {
  const { items: operations } = await ask('/v1/workflows');
  const tab = (name, title) => element('a', { href: name === 'all' ? '/console/runs.html' : '?view=failures', ...(view === name ? { 'aria-current': 'page' } : {}) }, title);
  const content = view === 'all' ? await list() : await failures();
  const toggle = element('input', { type: 'checkbox', id: 'live', change: ({ target }) => {
    live = target.checked;
  } });
  toggle.checked = live;
  return [
    element('div', { class: 'title' }, element('h1', {}, 'Runs'), element('nav', { 'class': 'tabs', 'aria-label': 'Views' }, tab('all', 'All'), tab('failures', 'Failures')),
      element('div', { class: 'bar push' },
        view === 'all' ? element('label', { class: 'live', title: `Looks for changes every ${duration(REFRESH_MS)}` }, toggle, 'Live') : undefined,
        operations.some(({ exposure }) => exposure === 'public') ? element('button', { type: 'button', class: 'chief', id: 'start-run', click: () => void startDialog(operations).catch((error) => say(error.message, 'critical')) }, 'Start a run') : undefined)),
    filters(operations),
    ...content,
  ];
});
