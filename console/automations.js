import { ask, element, page, when } from './session.js';

const chosen = new URLSearchParams(location.search).get('id');
const SIGNALS = 200;
const LOOKS = { fired: 'good', pending: 'info', skipped: 'info', failed: 'critical', fire: 'good', skip: 'info', fail: 'critical', unmatched: 'info' };
let outcome = null;

const tag = (text, look) => element('span', { class: `tag ${look}` }, text);
const table = (titles, rows) => element('table', {}, element('thead', {}, element('tr', {}, ...titles.map((title) => element('th', {}, title)))), element('tbody', {}, ...rows));

/** What a trigger looks at, in one line. */
function looksAt({ kind, types, sources, hookId }) {
  if (kind === 'webhook') return `webhook ${hookId.slice(0, 8)}: ${types.join(', ')}`;
  return `${types.join(', ')}${sources === undefined ? '' : ` from ${sources.join(', ')}`}`;
}

/** What leaves, in one line. */
function effectLine(effect) {
  if (effect === null) return '';
  return effect.kind === 'operation' ? `start ${effect.operation} ${JSON.stringify(effect.input)}` : `send ${effect.type} ${JSON.stringify(effect.data)}`;
}

function stateOf({ enabled, paused }) {
  if (paused !== null) return tag('paused', 'critical');
  return enabled ? tag('on', 'good') : tag('off', 'info');
}

function row(automation) {
  const { id, name, trigger, condition, effect, paused } = automation;
  return element('tr', { class: id === chosen ? 'chosen' : '' },
    element('td', {}, element('a', { href: `?id=${id}` }, name)),
    element('td', {}, stateOf(automation)),
    element('td', {}, looksAt(trigger)),
    element('td', {}, element('code', {}, condition ?? '')),
    element('td', {}, effect.kind === 'operation' ? `start ${effect.operation}` : `send ${effect.type}`),
    element('td', { class: 'critical' }, paused?.reason ?? ''),
  );
}

/** Runs a change and draws the page again; a refusal is shown where it was asked for. */
function button(label, work, redraw) {
  return element('button', {
    click: async ({ currentTarget }) => {
      currentTarget.disabled = true;
      try {
        await work();
        await redraw();
      } catch (error) {
        currentTarget.disabled = false;
        currentTarget.after(element('span', { class: 'critical' }, ` ${error.message}`));
      }
    },
  }, label);
}

async function detail(automation, redraw) {
  const { items } = await ask(`/v1/automations/${automation.id}/firings?limit=50`);
  const on = automation.enabled && automation.paused === null;
  const firings = items.map(({ createdAt, state, reason, signalType, signals, effect, runId, emitted, signal }) =>
    element('tr', {},
      element('td', { class: 'actions' }, when(createdAt)),
      element('td', {}, tag(state, LOOKS[state])),
      element('td', {}, element('a', { href: `/console/trace.html?signal=${signal}` }, signalType), signals > 1 ? ` and ${signals - 1} more` : ''),
      element('td', {}, runId ?? (emitted === null ? '' : element('a', { href: `/console/trace.html?signal=${emitted}` }, 'signal'))),
      element('td', {}, reason ?? element('code', {}, effectLine(effect))),
    ),
  );
  return [
    element('div', { class: 'bar' }, element('h1', {}, automation.name),
      button(on ? 'Switch off' : 'Switch on', () => ask(`/v1/automations/${automation.id}/${on ? 'disable' : 'enable'}`, { method: 'POST' }), redraw),
      button(`Dry run over its last ${SIGNALS} signals`, async () => {
        outcome = await ask(`/v1/automations/${automation.id}/dry-run`, { method: 'POST', body: { signals: SIGNALS } });
      }, redraw)),
    ...(outcome === null ? [] : dryRun(outcome)),
    ...(firings.length === 0 ? [element('p', { class: 'note' }, 'It has not met a signal yet.')] : [element('h1', { class: 'later' }, 'What it did'), table(['When', 'State', 'Signal', 'Came of it', 'What'], firings)]),
  ];
}

function dryRun({ matched, wouldFire, items }) {
  const rows = items.filter(({ outcome: verdict }) => verdict !== 'unmatched').map(({ signal, type, outcome: verdict, reason, effect, inputErrors }) =>
    element('tr', {},
      element('td', {}, element('a', { href: `/console/trace.html?signal=${signal}` }, type)),
      element('td', {}, tag(verdict, LOOKS[verdict])),
      element('td', {}, reason ?? element('code', {}, effectLine(effect))),
      element('td', { class: 'critical' }, inputErrors.map(({ path, message }) => `${path}: ${message}`).join('; ')),
    ),
  );
  return [element('p', { class: 'note', id: 'dry-run' }, items.length === 0 ? 'No recent signal is of a type and source it looks at.' : `Of the last ${items.length} ${items.length === 1 ? 'signal' : 'signals'} of its types and sources it looks at ${matched} and would act on ${wouldFire}. Nothing was done.`), ...(rows.length === 0 ? [] : [table(['Signal', 'Would', 'What', 'Refused because'], rows)])];
}

page(async function draw() {
  const main = document.querySelector('main');
  const redraw = async () => main.replaceChildren(...(await draw()));
  const { items } = await ask('/v1/automations?limit=500');
  const automation = items.find(({ id }) => id === chosen);
  return [
    element('h1', {}, 'Automations'),
    ...(items.length === 0 ? [element('p', { class: 'note' }, 'There is none yet: POST /v1/automations makes one.')] : [table(['Name', 'State', 'Looks at', 'Condition', 'Effect', 'Why it is paused'], items.map(row))]),
    ...(automation === undefined ? [] : await detail(automation, redraw)),
  ];
});
