import { imagesOf, standing, standingTag, unitTag } from './rollout-words.js';
import { ago, confirmDialog, doing, duration, runLink, say, shortId, took } from './run-words.js';
import { ask, element, page, when } from './session.js';

const search = new URLSearchParams(location.search);
const id = search.get('id') ?? '';
const outcome = search.get('outcome');
const path = `/v1/rollouts/${encodeURIComponent(id)}`;
const run = `/v1/runs/${encodeURIComponent(id)}`;
const REFRESH_MS = 3000;
const PAGE = 100;
const WIDTH = 1000;
const HEIGHT = 100;
const OUTCOMES = { pass: ['good', 'passed'], fail: ['critical', 'failed'], inconclusive: ['warning', 'undecided'] };
/** Verdicts whose grounds are shown; they stay open when the page is read again. */
const opened = new Set();
let older = [];

function button(label, click, attributes = {}) {
  return element('button', { type: 'button', click: ({ currentTarget }) => void click(currentTarget), ...attributes }, label);
}

async function decide(self, action, title, about, look) {
  const answer = await confirmDialog(title, about, title.replace('?', ''), [element('label', { class: 'field' }, element('span', {}, 'Reason'), element('input', { name: 'reason', autocomplete: 'off', ...(action === 'retry' ? {} : { required: '' }) }))], look);
  if (answer === undefined) return;
  await doing(self, async () => {
    await ask(`${run}/updates/decide`, { method: 'POST', body: { payload: { action, reason: answer.reason } } });
    await redraw();
  });
}

function act(verb) {
  return (self) => doing(self, async () => {
    await ask(`${run}/${verb}`, { method: 'POST' });
    await redraw();
  });
}

function actions({ status, pausedAt, progress }) {
  if (status !== 'running') return [];
  const asked = progress?.step === 'waiting' && !/^(approval|freeze)/.test(progress.message);
  return [
    ...(asked ? [
        button('Look again', (self) => decide(self, 'retry', 'Look again?', 'The metrics are looked at once more.', 'chief'), { id: 'retry' }),
        button('Promote', (self) => decide(self, 'promote', 'Promote?', 'The step is taken although its metrics decided nothing.', 'danger'), { id: 'promote' }),
      ] : []),
    pausedAt === null ? button('Pause', act('pause'), { id: 'pause' }) : button('Resume', act('resume'), { id: 'resume' }),
    button('Abort', (self) => decide(self, 'abort', 'Abort?', 'Every service of it that has begun goes back to its old images, the newest first.', 'danger'), { id: 'abort', class: 'danger' }),
  ];
}

function waiting({ status, pausedAt, progress }) {
  if (status !== 'running') return undefined;
  if (pausedAt !== null) return element('section', { class: 'card waits', id: 'waits' }, element('h2', {}, 'Paused'), element('p', {}, 'It is held before its next step.'));
  if (progress === null) return undefined;
  if (progress.step !== 'waiting') return element('p', { class: 'note', id: 'now' }, progress.message);
  const approval = progress.message.startsWith('approval');
  return element('section', { class: 'card waits', id: 'waits' }, element('h2', {}, 'It waits'), element('p', {}, progress.message), approval ? element('p', { class: 'note' }, 'Answer on the page of its ', runLink(id, 'run'), '.') : undefined);
}

function plan({ strategy, steps, replicas }) {
  if (steps === null) return `${strategy}, ${replicas} ${replicas === 1 ? 'pod' : 'pods'}`;
  return `${strategy}: ${steps.map(({ weight, soakSeconds, approvals }) => `${approvals === 0 ? '' : `${approvals} approve, `}${weight} %${soakSeconds === 0 ? '' : ` for ${duration(soakSeconds * 1000)}`}`).join(' → ')}`;
}

/** Services by wave and cluster, each with the share of the traffic over time. */
function waves(rollout, verdicts) {
  const names = [...new Set(rollout.units.map(({ wave }) => wave))];
  const begin = Date.parse(rollout.createdAt);
  const end = Math.max(begin + 1000, Date.parse(rollout.closedAt ?? new Date().toISOString()));
  return names.map((name) => element('section', { class: 'card wave' },
    element('div', { class: 'section-head' }, element('h2', {}, `Wave ${name}`), element('span', { class: 'note' }, [...new Set(rollout.units.filter(({ wave }) => wave === name).map(({ cluster }) => cluster))].join(', '))),
    ...rollout.units.filter(({ wave }) => wave === name).map((unit) => {
      const own = ({ service, cluster }) => service === unit.service && cluster === unit.cluster;
      return element('article', { 'class': 'unit', 'data-unit': `${unit.service}/${unit.cluster}` },
        element('div', { class: 'unit-facts' }, element('h3', {}, unit.service, ' ', unitTag(unit)), element('div', { class: 'kind' }, `${unit.workload} in ${unit.namespace}, ${unit.cluster}`), ...imagesOf(unit), element('div', { class: 'kind' }, plan(unit))),
        traffic(rollout.steps.filter(own), verdicts.filter(own), begin, end),
        element('details', {}, element('summary', {}, `${rollout.steps.filter(own).length} steps`), element('ol', { class: 'done' }, ...rollout.steps.filter(own).map(({ at, step, share }) => element('li', {}, element('time', { datetime: at, title: when(at) }, duration(Date.parse(at) - begin)), element('span', {}, step), element('span', { class: 'number' }, share === null ? '' : `${Math.round(share)} %`))))),
      );
    })));
}

function traffic(steps, verdicts, begin, end) {
  const x = (time) => (WIDTH * (Math.min(end, Math.max(begin, time)) - begin)) / (end - begin);
  const y = (share) => HEIGHT - share;
  const shares = steps.filter(({ share }) => share !== null).map(({ at, share }) => [x(Date.parse(at)), share]);
  let line = `M0 ${y(0)}`;
  for (const [at, share] of shares) line += ` H${at.toFixed(1)} V${y(share).toFixed(1)}`;
  line += ` H${WIDTH}`;
  const now = shares.at(-1)?.[1] ?? 0;
  return element('figure', { class: 'traffic' },
    element('svg', { 'viewBox': `0 0 ${WIDTH} ${HEIGHT}`, 'preserveAspectRatio': 'none', 'role': 'img', 'aria-label': `Share of the traffic to the new version over time, now ${Math.round(now)} per cent` },
      ...[0, 50, 100].map((share) => element('path', { class: 'grid', d: `M0 ${y(share)} H${WIDTH}` })),
      element('path', { class: 'area', d: `${line} V${y(0)} Z` }), element('path', { class: 'line', d: line }),
      ...verdicts.map(({ at, outcome: found, metric, reason }) => element('path', { class: `mark ${OUTCOMES[found][0]}`, d: `M${x(Date.parse(at)).toFixed(1)} 0 V8` }, element('title', {}, `${metric}: ${reason}`)))),
    element('figcaption', {}, element('span', {}, '0'), element('strong', {}, `${Math.round(now)} % to the new version`), element('span', {}, duration(end - begin))));
}

function samples(series) {
  const all = Object.values(series).flat().filter((value) => value !== null);
  if (all.length === 0) return [element('p', { class: 'note' }, 'No sample was answered.')];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const y = (value) => 36 - (high === low ? 18 : (32 * (value - low)) / (high - low));
  return Object.entries(series).map(([role, values]) => element('div', { class: 'series' },
    element('span', { class: 'kind' }, `${role}, ${values.length} ${values.length === 1 ? 'sample' : 'samples'}`),
    element('svg', { 'viewBox': '0 0 240 40', 'class': `spark ${role === 'new' ? 'new' : 'old'}`, 'role': 'img', 'aria-label': `${role}: ${values.map((value) => value ?? 'no number').join(', ')}` },
      ...values.map((value, index) => (value === null ? undefined : element('circle', { cx: 4 + (232 * index) / Math.max(1, values.length - 1), cy: y(value), r: 2 })))),
    element('code', { class: 'values' }, values.slice(-12).map((value) => (value === null ? 'NaN' : String(Number(value.toPrecision(4))))).join(' '))));
}

function figures(values) {
  const known = Object.entries(values).filter(([, value]) => value !== null && value !== '');
  return known.map(([name, value]) => element('div', { class: 'figure-line' }, element('span', { class: 'kind' }, name), ' ', typeof value === 'number' ? String(Number(value.toPrecision(4))) : value));
}

function verdictRows(verdict) {
  const { seq, at, service, cluster, step, metric, outcome: found, reason, queries, statistic, threshold } = verdict;
  const [look, word] = OUTCOMES[found];
  const isOpen = opened.has(seq);
  const rests = element('tr', { 'class': 'rests', 'data-rests': seq, ...(isOpen ? {} : { hidden: '' }) },
    element('td', { colspan: 7 }, element('div', { class: 'grounds' },
      element('div', {}, element('h3', {}, 'Asked'), ...(Object.keys(queries).length === 0 ? [element('p', { class: 'note' }, 'Nothing could be asked.')] : Object.entries(queries).map(([role, query]) => element('figure', { class: 'payload' }, element('figcaption', {}, role), element('pre', { tabindex: '0' }, query))))),
      element('div', {}, element('h3', {}, 'Answered'), ...samples(verdict.samples)))));
  const toggle = element('button', { 'type': 'button', 'class': 'quiet', 'aria-expanded': String(isOpen), 'aria-label': `What the verdict on ${metric} rests on`, 'click': ({ currentTarget }) => {
    const show = rests.hidden;
    rests.hidden = !show;
    currentTarget.setAttribute('aria-expanded', String(show));
    if (show) opened.add(seq);
    else opened.delete(seq);
  } }, metric);
  return [
    element('tr', { 'class': 'verdict', 'data-outcome': found },
      element('td', {}, element('span', { class: `status ${look}` }, word)), element('td', {}, toggle), element('td', {}, step, element('div', { class: 'kind' }, `${service}, ${cluster}`)),
      element('td', {}, ...figures(statistic)), element('td', {}, ...figures(threshold)), element('td', { class: 'long' }, reason), element('td', { class: 'when' }, ago(at))),
    rests,
  ];
}

function verdictTable({ items, nextCursor }) {
  const link = (value, text) => {
    const next = new URLSearchParams(search);
    if (value === null) next.delete('outcome');
    else next.set('outcome', value);
    return element('a', { href: `?${next}`, ...(outcome === value ? { 'aria-current': 'page' } : {}) }, text);
  };
  const shown = [...items, ...older];
  const more = button('Older', async (self) => {
    await doing(self, async () => {
      const answer = await ask(`${path}/verdicts?${query()}&cursor=${encodeURIComponent(self.dataset.cursor)}`);
      older = [...older, ...answer.items];
      document.querySelector('#verdicts tbody').append(...answer.items.flatMap((verdict) => verdictRows(verdict)));
      if (answer.nextCursor === null) self.remove();
      else self.dataset.cursor = answer.nextCursor;
    });
  }, { 'id': 'older', 'data-cursor': nextCursor ?? '' });
  return element('section', { id: 'verdicts' },
    element('div', { class: 'section-head' }, element('h2', {}, 'Verdicts'), element('nav', { 'class': 'tabs', 'aria-label': 'Which verdicts' }, link(null, 'All'), link('fail', 'Failed'), link('inconclusive', 'Undecided'), link('pass', 'Passed'))),
    shown.length === 0
      ? element('p', { class: 'note' }, outcome === null ? 'No metric was judged.' : 'None of these.')
      : element('div', { class: 'scroll' }, element('table', { class: 'verdicts' }, element('thead', {}, element('tr', {}, ...['Verdict', 'Metric', 'Step', 'Statistic', 'Threshold', 'Reason', 'When'].map((title) => element('th', { scope: 'col' }, title)))), element('tbody', {}, ...shown.flatMap((verdict) => verdictRows(verdict))))),
    nextCursor === null || older.length > 0 ? undefined : element('nav', { class: 'pager', 'aria-label': 'More verdicts' }, more));
}

function query() {
  return new URLSearchParams({ limit: String(PAGE), ...(outcome === null ? {} : { outcome }) });
}

async function draw() {
  if (id === '') return [element('p', { class: 'problem' }, 'The address names no rollout.'), element('a', { href: '/console/rollouts.html' }, 'All rollouts')];
  const [rollout, verdicts] = await Promise.all([ask(path), ask(`${path}/verdicts?${query()}`)]);
  const state = await ask(run).catch((error) => {
    // A run that the read model does not know yet, or not any more.
    if (error.status === 404) return { status: rollout.status ?? 'running', pausedAt: null, progress: null };
    throw error;
  });
  const services = [...new Set(rollout.units.map(({ service }) => service))];
  const title = services.join(', ') || 'Rollout';
  document.title = `${title} · HAL9`;
  document.body.dataset.standing = standing(rollout);
  return [
    element('nav', { 'class': 'crumbs', 'aria-label': 'Where' }, element('a', { href: '/console/rollouts.html' }, 'Rollouts'), ' / ', shortId(id)),
    element('div', { class: 'title' }, element('h1', {}, title), element('code', { title: id }, shortId(id)), standingTag(rollout), element('div', { class: 'bar push' }, ...actions(state), element('a', { class: 'button', href: `/console/run.html?id=${encodeURIComponent(id)}` }, 'The run'))),
    element('dl', { class: 'facts' }, ...[['Started', ago(rollout.createdAt)], [rollout.closedAt === null ? 'Running for' : 'Took', took({ startedAt: rollout.createdAt, closedAt: rollout.closedAt })], ['Out', `${rollout.units.filter((unit) => unit.state === 'new').length} of ${rollout.units.length}`]].map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value)))),
    ...[waiting(state)].filter((part) => part !== undefined),
    ...(rollout.units.length === 0 ? [element('p', { class: 'note' }, 'The first service could not be read: the run says why.')] : waves(rollout, verdicts.items)),
    verdictTable(verdicts),
  ];
}

/** Draws again; what was opened stays open. */
async function redraw() {
  const main = document.querySelector('main');
  const details = [...main.querySelectorAll('article[data-unit] details[open]')].map((one) => one.closest('article').dataset.unit);
  main.replaceChildren(...(await draw()));
  for (const unit of details) main.querySelector(`article[data-unit="${CSS.escape(unit)}"] details`)?.setAttribute('open', '');
}

async function follow() {
  if (document.body.dataset.standing !== 'running') return;
  if (document.querySelector('dialog[open]') === null && older.length === 0) await redraw().catch((error) => say(error.message, 'critical'));
  setTimeout(() => void follow(), REFRESH_MS);
}

let following = false;
page(async () => {
  const parts = await draw();
  if (!following) setTimeout(() => void follow(), REFRESH_MS);
  following = true;
  return parts;
});
