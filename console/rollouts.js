import { imagesOf, standingTag } from './rollout-words.js';
import { ago, say, shortId, took } from './run-words.js';
import { ask, element, page } from './session.js';

const PAGE = 50;
const REFRESH_MS = 3000;
const cursor = new URLSearchParams(location.search).get('cursor');

function row(rollout) {
  const { runId, createdAt, closedAt, units } = rollout;
  const services = [...new Map(units.map((unit) => [unit.service, unit])).values()];
  const clusters = [...new Set(units.map(({ cluster }) => cluster))];
  return element('tr', { 'data-run': runId },
    element('td', { class: 'run' }, element('a', { href: `/console/rollout.html?id=${encodeURIComponent(runId)}` }, services.map(({ service }) => service).join(', ') || 'rollout'), element('code', {}, shortId(runId))),
    element('td', { class: 'state' }, standingTag(rollout)),
    element('td', { 'class': 'images', 'data-label': 'Images' }, ...services.flatMap((unit) => imagesOf(unit))),
    element('td', { 'class': 'by', 'data-label': 'Clusters' }, clusters.join(', ')),
    element('td', { 'class': 'number', 'data-label': 'Out' }, `${units.filter(({ state }) => state === 'new').length} of ${units.length}`),
    element('td', { 'class': 'when', 'data-label': 'Started' }, ago(createdAt)),
    element('td', { 'class': 'number', 'data-label': 'Took' }, took({ startedAt: createdAt, closedAt })),
  );
}

async function draw() {
  const { items, nextCursor } = await ask(`/v1/rollouts?limit=${PAGE}${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`);
  const head = element('div', { class: 'title' }, element('h1', {}, 'Rollouts'));
  if (items.length === 0) {
    return [head, element('div', { class: 'empty' }, element('h2', {}, 'Nothing was rolled out yet'), element('p', { class: 'note' }, 'Start a run of the operation ', element('a', { href: '/console/runs.html?type=rollout' }, 'rollout'), ', or bring your specs of Argo Rollouts or Flagger: `hal9 rollouts import`.'))];
  }
  const titles = ['Rollout', 'Standing', 'Images', 'Clusters', 'Out', 'Started', 'Took'];
  return [
    head,
    element('table', { class: 'runs' }, element('thead', {}, element('tr', {}, ...titles.map((title) => element('th', { scope: 'col', ...(['Out', 'Took'].includes(title) ? { class: 'number' } : {}) }, title)))), element('tbody', {}, ...items.map((rollout) => row(rollout)))),
    element('nav', { 'class': 'pager', 'aria-label': 'Pages of the list', ...(cursor === null && nextCursor === null ? { hidden: '' } : {}) },
      cursor === null ? undefined : element('a', { class: 'button', href: '/console/rollouts.html' }, '← Newest'),
      nextCursor === null ? undefined : element('a', { class: 'button', id: 'older', href: `?cursor=${encodeURIComponent(nextCursor)}` }, 'Older →')),
  ];
}

/** The newest page is drawn again by itself; what a keyboard or pointer is on keeps its place. */
async function follow() {
  const focused = document.activeElement?.closest?.('tr')?.dataset.run;
  try {
    document.querySelector('main').replaceChildren(...(await draw()));
    if (focused !== undefined) document.querySelector(`tr[data-run="${CSS.escape(focused)}"] a`)?.focus();
  } catch (error) {
    say(error.message, 'critical');
  }
  setTimeout(() => void follow(), REFRESH_MS);
}

let following = false;
page(async () => {
  const parts = await draw();
  if (cursor === null && !following) setTimeout(() => void follow(), REFRESH_MS);
  following = true;
  return parts;
});
