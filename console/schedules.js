import { ask, element, page, when } from './session.js';

const chosen = new URLSearchParams(location.search).get('id');
const LOOKS = { done: 'good', running: 'info', skipped: 'warning', cancelled: 'warning', failed: 'critical' };
const OVERLAPS = ['buffer-all', 'buffer-one', 'skip', 'allow-all', 'cancel-other', 'terminate-other'];
const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const UNITS = [['day', 86_400], ['hour', 3600], ['minute', 60], ['second', 1]];
let said = null;

const tag = (text, look) => element('span', { class: `tag ${look}` }, text);
const table = (titles, rows, id) => element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': titles.join(', ') }, element('table', { id }, element('thead', {}, element('tr', {}, ...titles.map((title) => element('th', {}, title)))), element('tbody', {}, ...rows)));

/** A length of time in its largest whole unit. */
function lengthOf(seconds) {
  const [unit, length] = UNITS.find(([, size]) => seconds % size === 0) ?? UNITS.at(-1);
  const count = seconds / length;
  return count === 1 ? `1 ${unit}` : `${count} ${unit}s`;
}

/** How far away a time is. */
function away(text) {
  const seconds = Math.round((Date.parse(text) - Date.now()) / 1000);
  const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);
  return new Intl.RelativeTimeFormat(undefined, { numeric: 'always', style: 'short' }).format(Math.trunc(seconds / length), unit);
}

const numbers = (ranges, name = String) => ranges.map((range) => (typeof range === 'number' ? name(range) : `${name(range.start)}-${name(range.end)}${(range.step ?? 1) === 1 ? '' : `/${range.step}`}`)).join(',');

function calendar({ second, minute = [0], hour = [0], dayOfMonth, month, year, dayOfWeek }) {
  const at = `${numbers(hour)}:${numbers(minute, (value) => String(value).padStart(2, '0'))}${second === undefined ? '' : `:${numbers(second)}`}`;
  const on = [dayOfWeek === undefined ? '' : numbers(dayOfWeek, (day) => DAYS[day]), dayOfMonth === undefined ? '' : `day ${numbers(dayOfMonth)}`, month === undefined ? '' : `month ${numbers(month)}`, year === undefined ? '' : numbers(year)];
  return [at, ...on.filter(Boolean)].join(' ');
}

/** When it fires, a part a line. */
function times({ cron, intervals, calendars }) {
  return [
    ...cron.map((text) => element('div', {}, element('code', {}, text))),
    ...intervals.map(({ everySeconds, offsetSeconds }) => element('div', {}, `every ${lengthOf(everySeconds).replace(/^1 /, '')}`, offsetSeconds === 0 ? '' : ` + ${lengthOf(offsetSeconds)}`)),
    ...calendars.map((parts) => element('div', {}, calendar(parts))),
  ];
}

function stateOf({ paused, problem, applied }) {
  if (problem !== null) return tag('refused', 'critical');
  if (paused !== null) return tag(paused.by === 'person' ? 'paused' : 'stopped', paused.by === 'person' ? 'warning' : 'critical');
  return applied ? tag('on', 'good') : tag('not yet applied', 'info');
}

const does = ({ action }) => (action.kind === 'operation' ? `start ${action.operation}` : `send ${action.type}`);

/** Why it does not fire, in words; null when it does. */
function whyNot({ paused, problem }) {
  if (problem !== null) return `Temporal refuses it: ${problem}`;
  if (paused === null) return null;
  return `${paused.by === 'person' ? 'Paused by a person' : 'Stopped by HAL9'} on ${when(paused.at)}${paused.note === '' ? '.' : `: ${paused.note}`}`;
}

function row(schedule) {
  const { id, name, timeZone } = schedule;
  return element('tr', { class: id === chosen ? 'chosen' : '' },
    element('td', { class: 'actions' }, element('a', { href: `?id=${id}` }, name)),
    element('td', {}, stateOf(schedule)),
    element('td', { class: 'actions' }, ...times(schedule)),
    element('td', {}, timeZone),
    element('td', { class: 'actions' }, does(schedule)),
    element('td', { class: 'long' }, schedule.problem ?? schedule.paused?.note ?? ''),
  );
}

/** Runs a change, says what came of it, and draws the page again. */
async function change(control, work, words, redraw) {
  control.disabled = true;
  try {
    await work();
    said = { words, look: 'good' };
  } catch (error) {
    said = { words: error.message, look: 'critical' };
  }
  await redraw();
}

const button = (label, work, words, redraw) => element('button', { type: 'button', click: ({ currentTarget }) => void change(currentTarget, work, words, redraw) }, label);

function pauseForm(path, redraw) {
  const note = element('input', { name: 'note', maxlength: 500, placeholder: 'Why (optional)', 'aria-label': 'Why it is paused' });
  return element('form', {
    class: 'inline',
    submit: (event) => {
      event.preventDefault();
      void change(event.submitter, () => ask(`${path}/pause`, { method: 'POST', body: { note: note.value.trim() } }), 'It is paused. Open runs go on.', redraw);
    },
  }, note, element('button', {}, 'Pause'));
}

function backfillForm(path, redraw) {
  const field = (name, label) => {
    const input = element('input', { name, type: 'datetime-local', step: 1, required: '' });
    return [input, element('label', {}, label, input)];
  };
  const [from, fromLabel] = field('from', 'From (your time)');
  const [to, toLabel] = field('to', 'To');
  const overlap = element('select', { name: 'overlap' }, ...OVERLAPS.map((policy) => element('option', { value: policy }, policy)));
  return element('details', { class: 'backfill' }, element('summary', {}, 'Backfill: make up for a span that has passed'), element('form', {
    class: 'inline',
    submit: (event) => {
      event.preventDefault();
      const body = { from: new Date(from.value).toISOString(), to: new Date(to.value).toISOString(), overlap: overlap.value };
      void change(event.submitter, () => ask(`${path}/backfill`, { method: 'POST', body }), 'It fires once for every time of the span, oldest first.', redraw);
    },
  }, fromLabel, toLabel, element('label', {}, 'One after the other', overlap), element('button', {}, 'Backfill')));
}

function aside({ times: known, overlap, catchUpSeconds, jitterSeconds, pauseOnFailure, paused }) {
  if (known === null) return element('aside', { class: 'times' }, element('h2', {}, 'Next'), element('p', { class: 'note' }, 'Temporal does not say now.'));
  const next = known.next.map((at) => element('li', {}, element('time', { datetime: at }, when(at)), element('span', {}, away(at))));
  const facts = [
    ['While one runs', overlap], ['Comes late by at most', lengthOf(catchUpSeconds)], ['Jitter', jitterSeconds === 0 ? 'none' : `up to ${lengthOf(jitterSeconds)}`], ['A failure', pauseOnFailure ? 'pauses it' : 'changes nothing'],
    ['Fired', known.taken], ['Open now', known.running], ['Left out for overlap', known.skippedOverlap], ['Too late after an outage', known.missedCatchUp], ...(known.remaining === null ? [] : [['Left of its limit', known.remaining]]),
  ];
  return element('aside', { class: 'times' },
    element('h2', {}, 'Next, in your time'),
    next.length === 0 ? element('p', { class: 'note' }, paused === null ? 'It will not fire again.' : 'None while it is paused.') : element('ol', {}, ...next),
    element('dl', {}, ...facts.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, String(value))])),
  );
}

function firing({ dueAt, createdAt, doneAt, state, reason, runId, emitted }) {
  const took = doneAt === null ? '' : `${((Date.parse(doneAt) - Date.parse(createdAt)) / 1000).toFixed(1)} s`;
  return element('tr', {},
    element('td', { class: 'actions' }, when(dueAt)),
    element('td', {}, tag(state, LOOKS[state])),
    element('td', { class: 'long' }, runId === null ? (emitted === null ? '' : element('a', { href: `/console/trace.html?signal=${emitted}` }, 'signal')) : element('a', { href: `/console/run.html?id=${encodeURIComponent(runId)}` }, runId)),
    element('td', { class: 'number' }, took),
    element('td', { class: 'long' }, reason ?? ''),
  );
}

async function detail(id, redraw) {
  const path = `/v1/schedules/${id}`;
  const [schedule, { items }] = await Promise.all([ask(path), ask(`${path}/firings?limit=50`)]);
  const why = whyNot(schedule);
  return [
    element('div', { class: 'bar' }, element('h1', {}, schedule.name), stateOf(schedule),
      button('Trigger now', () => ask(`${path}/trigger`, { method: 'POST', body: {} }), 'It fires now.', redraw),
      schedule.paused === null ? pauseForm(path, redraw) : button('Resume', () => ask(`${path}/unpause`, { method: 'POST' }), 'It goes on, and you are its owner now.', redraw)),
    ...(schedule.description === '' ? [] : [element('p', { class: 'note' }, schedule.description)]),
    ...(why === null ? [] : [element('p', { class: schedule.paused?.by === 'person' ? 'why person' : 'why', id: 'why' }, why)]),
    ...(said === null ? [] : [element('p', { id: 'said', class: said.look, role: 'status' }, said.words)]),
    backfillForm(path, redraw),
    element('div', { class: 'split' },
      element('div', {}, items.length === 0 ? element('p', { class: 'note' }, 'It has not fired yet.') : table(['Due', 'State', 'Came of it', 'Took', 'Why'], items.map(firing), 'firings')),
      aside(schedule)),
  ];
}

page(async function draw() {
  const main = document.querySelector('main');
  const redraw = async () => main.replaceChildren(...(await draw()));
  const { items } = await ask('/v1/schedules?limit=500');
  const known = items.some(({ id }) => id === chosen);
  return [
    element('h1', {}, 'Schedules'),
    ...(items.length === 0 ? [element('p', { class: 'note' }, 'There is none yet: POST /v1/schedules makes one.')] : [table(['Name', 'State', 'When', 'Time zone', 'Does', 'Why it is paused'], items.map(row), 'schedules')]),
    ...(known ? await detail(chosen, redraw) : items.length === 0 ? [] : [element('p', { class: 'note' }, 'Choose one to see when it fires next and what it did.')]),
  ];
});
