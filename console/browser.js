import { duration, shortId, statusTag } from './run-words.js';
import { ask, askFile, askPicture, askText, element, page, when } from './session.js';

const id = new URLSearchParams(location.search).get('id') ?? '';
const path = `/v1/runs/${encodeURIComponent(id)}`;
const REFRESH_MS = 2000;
const PAGE = 500;
/** How the outcome of a step looks. */
const LOOKS = { done: 'good', seen: 'info', skipped: 'info', failed: 'critical' };
const SAYS = { done: '', seen: 'had happened before the crash', skipped: 'left out: its element never came', failed: '' };
const VERBS = { 'navigate': 'go to', 'history': 'go', 'click': 'click', 'type': 'type into', 'select': 'choose in', 'check': 'tick', 'press': 'press', 'hover': 'point at', 'focus': 'focus', 'scroll': 'scroll', 'drag': 'drag', 'upload': 'upload to', 'download': 'download', 'wait': 'wait', 'pause': 'pause', 'extract': 'read', 'assert': 'check that', 'set': 'compute', 'act': 'work out how to', 'observe': 'look for', 'screenshot': 'take a picture', 'compare': 'compare the page', 'pdf': 'print', 'tab': 'turn to tab' };

const pictures = new Map();
const snapshots = new Map();
/** Whether the page in words is open: it stays so from step to step. */
let wordsOpen = false;
/** Whether page and baseline are shown one over the other: it stays so from step to step. */
let over = false;
const COMPARED = [['actual', 'The page'], ['baseline', 'Its baseline'], ['difference', 'How they differ']];
let chosen;
let steps = [];
let session;
const problem = element('p', { class: 'problem', hidden: '' });

/** A picture is asked for once; who may not see it is told so instead. */
function pictureOf(seq) {
  if (!pictures.has(seq)) pictures.set(seq, askPicture(`${path}/browser-steps/${seq}/picture`));
  return pictures.get(seq);
}

function picture(step, attributes) {
  if (!step.hasPicture) return element('div', { ...attributes, class: `${attributes.class} none` }, 'no picture');
  const image = element('img', { ...attributes, alt: `The page after step ${steps.indexOf(step) + 1}`, loading: 'lazy' });
  pictureOf(step.seq).then((address) => image.setAttribute('src', address), (error) => image.replaceWith(element('div', { class: `${attributes.class} none` }, error.status === 403 ? 'You may not see pictures.' : error.message)));
  return image;
}

/** What a step compared, each picture asked for once. */
function compared(step) {
  const { comparison } = step;
  if (comparison === null) return undefined;
  const key = (which) => `${step.seq}/${which}`;
  const pictureAt = (which) => {
    if (!pictures.has(key(which))) pictures.set(key(which), askPicture(`${path}/browser-steps/${step.seq}/compared/${which}`));
    return pictures.get(key(which));
  };
  const shown = (which, alt, attributes = {}) => {
    const image = element('img', { ...attributes, alt, loading: 'lazy' });
    pictureAt(which).then((address) => image.setAttribute('src', address), (error) => image.replaceWith(element('p', { class: 'note' }, error.status === 403 ? 'You may not see pictures.' : error.message)));
    return image;
  };
  const kept = COMPARED.filter(([which]) => comparison.pictures.includes(which));
  const several = kept.length > 1;
  const sides = element('div', { class: 'compared', id: 'compared', hidden: several && over ? '' : undefined }, ...kept.map(([which, says]) => element('figure', {}, element('figcaption', {}, says), shown(which, says))));
  return element('div', { class: 'comparison' },
    element('p', { class: isJudged(step) ? 'problem' : 'note', id: 'difference' }, inWords(comparison)),
    several ? switched(sides, slider(shown)) : sides,
    element('p', {}, comparison.pictures.includes('actual') && (comparison.outcome === 'missing' || comparison.different > 0) ? acceptance(step) : undefined));
}

/** Whether what was compared says why the step failed. */
function isJudged({ comparison }) {
  return comparison?.outcome === 'differs' || comparison?.outcome === 'missing';
}

function inWords({ name, viewport, outcome, size, baselineSize, different, most }) {
  const baseline = `baseline “${name}” of ${viewport.replace('x', ' × ').replace(/@1$/, '')}`;
  if (outcome === 'created') return `There was no ${baseline}: this picture is it from now on.`;
  if (outcome === 'missing') return `There is no ${baseline}, and the flow wants one.`;
  const pixels = size.width * size.height;
  const part = different === 0 ? 'no pixel differs' : `${different.toLocaleString()} of ${pixels.toLocaleString()} pixels differ (${(100 * different / pixels).toPrecision(2)} %), ${most === 0 ? 'none' : most.toLocaleString()} may`;
  const sizes = baselineSize.width === size.width && baselineSize.height === size.height ? '' : `; it is ${size.width} × ${size.height}, the baseline ${baselineSize.width} × ${baselineSize.height}`;
  return `Compared with the ${baseline}: ${part}${sizes}.`;
}

/** Page and baseline one over the other: the page is seen left of where the slider stands. */
function slider(shown) {
  const upper = element('div', { class: 'upper' }, shown('actual', 'The page'));
  const at = element('input', { 'type': 'range', 'min': '0', 'max': '100', 'value': '50', 'aria-label': 'How much of the page is seen over its baseline' });
  const stack = element('div', { class: 'stack' }, shown('baseline', 'Its baseline'), upper);
  const move = () => stack.style.setProperty('--seen', `${at.value}%`);
  at.addEventListener('input', move);
  move();
  return element('div', { id: 'slider', hidden: over ? undefined : '' }, at, stack);
}

function switched(sides, above) {
  const choose = element('button', { type: 'button', id: 'over' }, over ? 'Side by side' : 'One over the other');
  choose.addEventListener('click', () => {
    over = !over;
    sides.hidden = over;
    above.hidden = !over;
    choose.textContent = over ? 'Side by side' : 'One over the other';
  });
  return element('div', {}, choose, sides, above);
}

function acceptance(step) {
  const said = element('span', { class: 'note', role: 'status' });
  const accept = element('button', { type: 'button', id: 'accept' }, 'Accept as the baseline');
  accept.addEventListener('click', async () => {
    accept.disabled = true;
    try {
      await ask(`${path}/browser-steps/${step.seq}/accept`, { method: 'POST' });
      said.textContent = ' From now on runs are compared with this picture.';
    } catch (error) {
      said.textContent = ` ${error.status === 403 ? 'You may not accept pictures.' : error.message}`;
      accept.disabled = false;
    }
  });
  return element('span', {}, accept, said);
}

/** What was handed to the page and taken from it. */
function files(step) {
  if (step.files.length === 0) return undefined;
  const says = element('span', { class: 'note', role: 'status' });
  return element('div', {}, element('ul', { class: 'files', id: 'files' }, ...step.files.map(({ direction, name, bytes, sha256, mediaType, hasContent }, index) => {
    const fetch = () => askFile(`${path}/browser-steps/${step.seq}/files/${index + 1}`, name).catch((error) => (says.textContent = error.status === 403 ? 'You may not see files.' : error.message));
    return element('li', {}, direction === 'up' ? 'Uploaded ' : 'Downloaded ', hasContent ? element('button', { type: 'button', click: () => void fetch() }, name) : element('strong', {}, name), ` ${bytes.toLocaleString()} bytes, ${mediaType}`, element('div', { class: 'note' }, `SHA-256 ${sha256}`));
  })), says);
}

/** The page in words, asked for when somebody wants to see it. */
function snapshot(step) {
  if (!step.hasSnapshot) return undefined;
  const text = element('pre', {});
  const show = () => {
    if (!snapshots.has(step.seq)) snapshots.set(step.seq, askText(`${path}/browser-steps/${step.seq}/snapshot`));
    snapshots.get(step.seq).then((words) => (text.textContent = words.replace(/^#.*\n/, '')), (error) => (text.textContent = error.status === 403 ? 'You may not see pages.' : error.message));
  };
  const details = element('details', { class: 'words payload', id: 'words' }, element('summary', {}, 'The page in words'), text);
  details.open = wordsOpen;
  if (wordsOpen) show();
  details.addEventListener('toggle', () => {
    wordsOpen = details.open;
    if (wordsOpen) show();
  });
  return details;
}

function sentence({ verb, target, name }) {
  return [element('strong', {}, name ?? VERBS[verb] ?? verb), ...(target === null ? [] : [' ', element('span', { class: 'target' }, target)])];
}

function choose(seq) {
  chosen = seq;
  document.querySelectorAll('.film li').forEach((item) => item.classList.toggle('chosen', item.dataset.seq === String(seq)));
  document.querySelector('#step').replaceWith(detail(steps.find((step) => step.seq === seq)));
}

function film() {
  return element('ol', { class: 'film', id: 'film' }, ...steps.map((step, index) =>
    element('li', { 'data-seq': step.seq, 'class': step.seq === chosen ? 'chosen' : '' },
      element('button', { type: 'button', click: () => choose(step.seq) },
        element('span', { class: 'number' }, String(index + 1)),
        element('span', { class: 'what' }, ...sentence(step), step.troubles.length === 0 ? undefined : element('span', { class: 'tag warning', title: step.troubles.map(({ text }) => text).join('\n') }, `${step.troubles.length} on the page`), step.way > 0 ? element('span', { class: 'tag info' }, 'found another way') : undefined),
        element('span', { class: 'took' }, duration(Date.parse(step.endedAt) - Date.parse(step.startedAt))),
        element('span', { class: `dot ${LOOKS[step.outcome]}`, title: step.outcome })))));
}

function detail(step) {
  if (step === undefined) return element('section', { class: 'card', id: 'step' }, element('p', { class: 'note' }, 'The session has done nothing yet.'));
  return element('section', { class: 'card', id: 'step' },
    element('div', { class: 'section-head' }, element('h2', {}, ...sentence(step)), statusTag(step.outcome)),
    step.failure === null || isJudged(step) ? undefined : element('p', { class: 'problem' }, step.failure),
    SAYS[step.outcome] === '' ? undefined : element('p', { class: 'note' }, SAYS[step.outcome]),
    step.way > 0 ? offer(step) : undefined,
    compared(step),
    step.comparison === null || step.comparison.pictures.length === 0 ? picture(step, { class: 'big' }) : undefined,
    files(step),
    snapshot(step),
    element('dl', { class: 'facts' }, ...[['Page', step.url], ['Began', when(step.startedAt)], ['Took', duration(Date.parse(step.endedAt) - Date.parse(step.startedAt))], ['In the flow', step.path]].map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value)))),
    step.troubles.length === 0 ? undefined : element('ul', { class: 'troubles' }, ...step.troubles.map(({ kind, text }) => element('li', {}, element('span', { class: 'kind' }, kind), ' ', text))));
}

/** The flow with the way first that found the element: for whoever keeps the flow. */
function offer(step) {
  const answer = element('pre', { id: 'healed', hidden: '' });
  const show = async () => {
    const changed = await ask(`${path}/browser-healings`, { method: 'POST', body: { paths: [step.path] } }).catch((error) => ({ flow: error.status === 403 ? 'You may not see the input of the run.' : error.message }));
    answer.textContent = JSON.stringify(changed.flow, undefined, 2);
    answer.removeAttribute('hidden');
  };
  return element('div', {}, element('p', { class: 'note' }, 'The first way to the element found nothing; this one did.'), element('button', { type: 'button', id: 'heal', click: () => void show() }, 'Show the flow with this way first'), answer);
}

/** Opened at once, while the click counts: browsers keep windows shut that come later. */
async function openLive() {
  const opened = window.open('', '_blank');
  try {
    const { token } = await ask(`${path}/live-views`, { method: 'POST' });
    opened.location.href = `/console/browser-live.html#${token}`;
  } catch (error) {
    opened?.close();
    problem.textContent = error.message;
    problem.hidden = false;
  }
}

async function takeAway() {
  problem.hidden = true;
  await askFile(`${path}/browser-evidence`, `${id}.zip`).catch((error) => {
    problem.textContent = error.status === 403 ? 'You may not see pictures.' : error.message;
    problem.hidden = false;
  });
}

/** Everything that is new since the last look. */
async function read() {
  for (;;) {
    const answer = await ask(`${path}/browser-steps?limit=${PAGE}${steps.length === 0 ? '' : `&after=${steps.at(-1).seq}`}`);
    session = answer.session;
    steps = [...steps, ...answer.items];
    if (answer.items.length < PAGE) return answer.items.length;
  }
}

async function follow() {
  if (session.state !== 'open' || document.querySelector('#film') === null) return;
  const newest = chosen === steps.at(-1)?.seq;
  const count = await read().catch(() => 0);
  if (count > 0 || session.state !== 'open') {
    if (newest) chosen = steps.at(-1)?.seq;
    document.querySelector('main').replaceChildren(...drawn());
  }
  setTimeout(() => void follow(), REFRESH_MS);
}

function drawn() {
  const failed = steps.findLast(({ outcome }) => outcome === 'failed');
  chosen ??= (failed ?? steps.at(-1))?.seq;
  const took = steps.length === 0 ? 0 : Date.parse(steps.at(-1).endedAt) - Date.parse(steps[0].startedAt);
  return [
    element('nav', { 'class': 'crumbs', 'aria-label': 'Where' }, element('a', { href: '/console/runs.html' }, 'Runs'), ' / ', element('a', { href: `/console/run.html?id=${encodeURIComponent(id)}` }, `browser ${shortId(id)}`)),
    element('div', { class: 'title' }, element('h1', {}, session.flow ?? 'Browser session'), statusTag(session.state === 'open' ? 'running' : session.state === 'done' ? 'completed' : session.state),
      element('span', { class: 'note' }, `${steps.length} ${steps.length === 1 ? 'step' : 'steps'} in ${duration(took)}${session.takeUps > 1 ? `, taken up ${session.takeUps - 1} ${session.takeUps === 2 ? 'time' : 'times'} by another browser` : ''}`),
      session.state === 'open' ? element('button', { type: 'button', id: 'live', click: () => void openLive() }, 'Live page') : element('button', { type: 'button', id: 'export', click: () => void takeAway() }, 'Evidence as a file')),
    problem,
    element('div', { class: 'reel' }, film(), detail(steps.find(({ seq }) => seq === chosen))),
  ];
}

page(async () => {
  if (id === '') return [element('p', { class: 'problem' }, 'The address names no run.'), element('a', { href: '/console/runs.html' }, 'All runs')];
  steps = [];
  await read();
  document.title = `${session.flow ?? 'Browser session'} · HAL9`;
  setTimeout(() => void follow(), REFRESH_MS);
  return drawn();
});

document.addEventListener('keydown', ({ key, target }) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[key];
  if (by === undefined || target.closest('input, select, textarea') !== null) return;
  const next = steps[steps.findIndex(({ seq }) => seq === chosen) + by];
  if (next !== undefined) choose(next.seq);
});
