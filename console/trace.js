import { ask, element, page, when } from './session.js';

const [WIDTH, HEIGHT, GAP_X, GAP_Y] = [190, 54, 32, 16];

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

function draw(tree, choose) {
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
      class: `node ${node.kind} ${node.layer}`,
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
      element('text', { x: 12, y: 40 }, shorten(node.title)),
    );
    return group;
  });
  return element('svg', { width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'The way of the signal through the layers' }, ...edges, ...nodes);
}

function details(trace, node) {
  if (node.kind === 'signal') return trace.signal;
  if (node.kind === 'emission') return trace.emissions.find((emission) => emission.id === node.id);
  if (node.kind === 'decision') return trace.decisions.find((decision) => decision.id === node.id);
  return trace.runs.find((run) => run.runId === node.id);
}

page(async () => {
  const id = new URLSearchParams(location.search).get('signal');
  const field = element('input', { placeholder: 'Signal id', size: 40, value: id ?? '', 'aria-label': 'Signal id' });
  const search = element('form', {
    submit: (event) => {
      event.preventDefault();
      location.search = new URLSearchParams({ signal: field.value.trim() }).toString();
    },
  }, field, ' ', element('button', {}, 'Show'));
  if (id === null) return [element('h1', {}, 'Trace of a signal'), search];
  const trace = await ask(`/v1/signals/${encodeURIComponent(id)}/trace`);
  const shown = element('pre', {}, JSON.stringify(trace.signal, null, 2));
  const choose = (node) => shown.replaceChildren(JSON.stringify(details(trace, node) ?? node, null, 2));
  const cost = Number(trace.costUsd) === 0 ? 'no cost outside' : `${trace.costUsd} USD`;
  const duration = trace.durationMs === null ? 'still waiting' : `${Math.round(trace.durationMs)} ms`;
  return [
    element('h1', {}, `${trace.signal.type} from ${trace.signal.source}`),
    element('p', { class: 'note' }, `${trace.signal.state}, received ${when(trace.signal.receivedAt)}, ${duration}, ${cost}${trace.truncated ? ', shortened' : ''}`),
    element('div', { class: 'split' }, element('div', { class: 'stage' }, draw(trace.tree, choose)), element('aside', {}, shown)),
  ];
});
