import { duration, statusTag } from './run-words.js';
import { ask, element, page, when } from './session.js';

const [WIDTH, HEIGHT, GAP_X, GAP_Y] = [190, 54, 32, 16];
/** States that are bad news, in the words of each kind. */
const BAD = new Set(['failed', 'timed-out', 'terminated', 'refused', 'expired', 'abandoned']);
/** Where a thing is shown by itself. */
const PAGES = {
  signal: (id) => `/console/trace.html?signal=${id}`,
  run: (id) => `/console/run.html?id=${encodeURIComponent(id)}`,
  automation: () => '/console/automations.html',
  schedule: () => '/console/schedules.html',
  webhook: () => '/console/deliveries.html',
  message: () => '/console/deliveries.html',
};

/** Places a tree: leaves below each other, a parent beside the middle of its children. */
function place(node, depth, next, placed) {
  const children = node.children.map((child) => place(child, depth + 1, next, placed));
  const row = children.length === 0 ? next.row++ : (children[0].row + children.at(-1).row) / 2;
  const spot = { node, depth, row, children };
  placed.push(spot);
  return spot;
}

function shorten(text) {
  return text.length > 23 ? `${text.slice(0, 22)}…` : text;
}

function draw(tree, asked, choose) {
  const placed = [];
  const next = { row: 0 };
  place(tree, 0, next, placed);
  const x = (spot) => 20 + spot.depth * (WIDTH + GAP_X);
  const y = (spot) => 20 + spot.row * (HEIGHT + GAP_Y);
  const width = 40 + (Math.max(...placed.map((spot) => spot.depth)) + 1) * (WIDTH + GAP_X) - GAP_X;
  const height = 40 + next.row * (HEIGHT + GAP_Y) - GAP_Y;
  const edges = placed.flatMap((spot) => spot.children.map((child) => {
    const [fromX, fromY, toX, toY] = [x(spot) + WIDTH, y(spot) + HEIGHT / 2, x(child), y(child) + HEIGHT / 2];
    return element('path', { class: 'edge', d: `M${fromX} ${fromY} C${fromX + GAP_X / 2} ${fromY} ${toX - GAP_X / 2} ${toY} ${toX} ${toY}` });
  }));
  const nodes = placed.map((spot) => {
    const { node } = spot;
    const group = element('g', {
      class: `node ${node.kind} ${node.layer}${BAD.has(node.state) ? ' bad' : ''}${node.id === asked ? ' asked' : ''}`,
      transform: `translate(${x(spot)} ${y(spot)})`,
      tabindex: 0,
      click: () => {
        document.querySelector('g.chosen')?.classList.remove('chosen');
        group.classList.add('chosen');
        choose(node);
      },
    },
      element('title', {}, node.title),
      element('rect', { width: WIDTH, height: HEIGHT, rx: 8 }),
      element('text', { class: 'kind', x: 12, y: 20 }, [node.kind.toUpperCase(), node.layer].filter(Boolean).join(' · ')),
      ...(node.durationMs === null ? [] : [element('text', { class: 'kind took', x: WIDTH - 12, y: 20 }, duration(node.durationMs))]),
      element('text', { x: 12, y: 40 }, shorten(node.title)),
    );
    return group;
  });
  return element('svg', { width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'What led to what' }, ...edges, ...nodes);
}

/** What a trace of a signal says of a node besides. */
function evidence(trace, node) {
  if (node.kind === 'signal') return trace.signal?.id === node.id ? trace.signal : undefined;
  if (node.kind === 'emission') return trace.emissions?.find((emission) => emission.id === node.id);
  if (node.kind === 'decision') return trace.decisions?.find((decision) => decision.id === node.id);
  return node.kind === 'run' ? trace.runs?.find((run) => run.runId === node.id) : undefined;
}

function details(trace, node) {
  const { kind, id, layer, title, state, at, endedAt, durationMs, failure } = node;
  const known = evidence(trace, node);
  const link = id === '' ? undefined : PAGES[kind]?.(id);
  return [
    element('h2', {}, title),
    element('p', { class: 'note' }, [kind, layer].filter(Boolean).join(' · '), ' ', state === null ? undefined : statusTag(state)),
    at === null ? undefined : element('p', {}, when(at), endedAt === null || endedAt === at ? '' : ` – ${when(endedAt)}`, durationMs === null ? '' : ` (${duration(durationMs)})`),
    failure === null ? undefined : element('p', { class: 'problem' }, failure),
    link === undefined ? undefined : element('p', {}, element('a', { href: link, id: 'open' }, kind === 'signal' ? 'Trace of the signal' : 'Open')),
    id === '' ? undefined : element('p', {}, element('code', {}, id)),
    known === undefined ? undefined : element('pre', {}, JSON.stringify(known, null, 2)),
  ].filter((part) => part !== undefined);
}

function find(node, id) {
  return node.id === id ? node : node.children.map((child) => find(child, id)).find((found) => found !== undefined);
}

page(async () => {
  const asked = new URLSearchParams(location.search);
  const [signal, run] = [asked.get('signal'), asked.get('run')];
  const field = element('input', { placeholder: 'Id of a signal or a run', size: 44, value: signal ?? run ?? '', 'aria-label': 'Id of a signal or a run' });
  const search = element('form', {
    submit: (event) => {
      event.preventDefault();
      const id = field.value.trim();
      location.search = new URLSearchParams(id.includes('~') ? { run: id } : { signal: id }).toString();
    },
  }, field, ' ', element('button', {}, 'Show'));
  if (signal === null && run === null) return [element('h1', {}, 'Trace of a signal or a run'), search];
  const id = run ?? signal;
  const trace = await ask(run === null ? `/v1/signals/${encodeURIComponent(id)}/trace` : `/v1/runs/${encodeURIComponent(id)}/trace`);
  const node = find(trace.tree, id) ?? trace.tree;
  const shown = element('aside', {}, ...details(trace, node));
  const stage = element('div', { class: 'stage' }, draw(trace.tree, id, (chosen) => shown.replaceChildren(...details(trace, chosen))));
  return [...(run === null ? headOfSignal(trace) : headOfRun(trace, node)), element('div', { class: 'split' }, stage, shown)];
});

function headOfSignal({ signal, costUsd, durationMs, truncated }) {
  const cost = Number(costUsd) === 0 ? 'no cost outside' : `${costUsd} USD`;
  const time = durationMs === null ? 'still waiting' : `${Math.round(durationMs)} ms`;
  return [element('h1', {}, `${signal.type} from ${signal.source}`), element('p', { class: 'note' }, `${signal.state}, received ${when(signal.receivedAt)}, ${time}, ${cost}${truncated ? ', shortened' : ''}`)];
}

function headOfRun({ runId, operation, status, truncated }, { at, durationMs, failure }) {
  return [
    element('nav', { 'class': 'crumbs', 'aria-label': 'Where' }, element('a', { href: '/console/runs.html' }, 'Runs'), ' / ', element('a', { href: `/console/run.html?id=${encodeURIComponent(runId)}` }, operation), ' / trace'),
    element('h1', {}, `What led to this ${operation} run, and what came of it`),
    element('p', { class: 'note' }, `${status}${failure === null ? '' : ` (${failure})`}, started ${when(at)}${durationMs === null ? '' : `, ${duration(durationMs)}`}${truncated ? ', shortened' : ''}`),
  ];
}
