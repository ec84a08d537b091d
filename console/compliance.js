import { ask, element, page, when } from './session.js';

const STATES = { 'passing': 'passing', 'failing': 'failing', 'not-collected': 'nothing collected', 'shown-by-tests': 'shown by tests' };
const CLASSES = { 'passing': 'good', 'failing': 'critical', 'not-collected': 'warning', 'shown-by-tests': 'info' };

/** The period as a strip: a cell a day, empty where there is a gap. */
function strip(coverage, from) {
  const width = 180;
  const start = Date.parse(`${from}T00:00:00Z`);
  const x = (day) => (width * (Date.parse(`${day}T00:00:00Z`) - start)) / (coverage.days * 86_400_000);
  const spans = (list, name, says) =>
    list.map((span) => element('rect', { class: name, x: x(span.from), y: 0, width: x(span.to) - x(span.from) + width / coverage.days, height: 12 }, element('title', {}, `${says} ${span.from === span.to ? `on ${span.from}` : `from ${span.from} to ${span.to}`}`)));
  return element('svg', { class: 'strip', width, height: 12, viewBox: `0 0 ${width} 12`, role: 'img', 'aria-label': `${coverage.covered} of ${coverage.days} days have evidence` },
    element('rect', { class: 'covered', x: 0, y: 0, width, height: 12 }), ...spans(coverage.gaps, 'gap', 'no evidence'), ...spans(coverage.failures, 'failed', 'not passed'));
}

function evidence(control, from) {
  const { coverage, last } = control;
  if (coverage === null) return [element('span', { class: 'info' }, `${control.tests.length} tests of every build`)];
  const numbers = last === null ? '' : Object.entries(last.numbers).map(([name, value]) => `${name} ${value}`).join(', ');
  return [
    element('div', {}, strip(coverage, from)),
    element('div', { class: 'info' }, `${coverage.covered} of ${coverage.days} days${coverage.failures.length === 0 ? '' : ', not always passed'}`),
    ...(last === null ? [] : [element('div', { title: last.hash }, `${when(last.at)}: ${numbers}`)]),
  ];
}

page(async () => {
  const search = new URLSearchParams(location.search);
  const query = new URLSearchParams([...search].filter(([name]) => name === 'from' || name === 'to'));
  const { from, to, controls, leftToYou } = await ask(`/v1/compliance${query.size === 0 ? '' : `?${query}`}`);
  const frameworks = Object.keys(leftToYou);
  const chosen = search.get('framework');
  const shown = chosen === null ? controls : controls.filter((control) => chosen in control.clauses);
  const link = (name, text) => {
    const next = new URLSearchParams(search);
    if (name === null) next.delete('framework');
    else next.set('framework', name);
    return element('a', { class: name === chosen ? 'chosen' : '', href: `?${next}` }, text);
  };
  const rows = shown.map((control) =>
    element('tr', { id: control.id },
      element('td', {}, element('span', { class: `tag ${CLASSES[control.state]}` }, STATES[control.state])),
      element('td', {}, element('div', {}, control.title), element('div', { class: 'info' }, control.id)),
      element('td', { class: 'clauses' }, ...frameworks.filter((name) => name in control.clauses).map((name) => element('div', {}, element('span', { class: 'info' }, `${name} `), control.clauses[name].join(', ')))),
      element('td', {}, ...evidence(control, from)),
    ),
  );
  const head = ['State', 'Control', 'Clauses', 'Evidence'].map((title) => element('th', {}, title));
  const count = (state) => shown.filter((control) => control.state === state).length;
  return [
    element('h1', {}, 'Compliance'),
    element('p', { class: 'note' }, `${from} to ${to}: ${count('passing')} passing, ${count('failing')} failing, ${count('not-collected')} without evidence, ${count('shown-by-tests')} shown by tests alone.`),
    element('p', { class: 'choices' }, link(null, 'All'), ...frameworks.map((name) => link(name, name))),
    element('table', {}, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...rows)),
    element('h1', { class: 'later' }, 'Left to you'),
    element('p', { class: 'note' }, 'Clauses that people and buildings meet, not software. An auditor asks you for them.'),
    element('table', {}, element('tbody', {}, ...frameworks.filter((name) => chosen === null || name === chosen).map((name) => element('tr', {}, element('th', {}, name), element('td', {}, leftToYou[name].join('; ')))))),
  ];
});
