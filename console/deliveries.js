import { ask, element, page, when } from './session.js';

const LOOKS = { accepted: 'good', delivered: 'good', duplicate: 'info', pending: 'info', refused: 'warning', abandoned: 'warning', failed: 'critical' };

const tag = (text) => element('span', { class: `tag ${LOOKS[text]}` }, text);
const table = (titles, rows, id) => element('table', { id }, element('thead', {}, element('tr', {}, ...titles.map((title) => element('th', {}, title)))), element('tbody', {}, ...rows));
const names = (items) => new Map(items.map(({ id, name }) => [id, name]));

/** Asks for one delivery once more and draws the page again; a refusal is shown beside the button. */
function again(label, path, redraw) {
  return element('button', {
    click: async ({ currentTarget }) => {
      currentTarget.disabled = true;
      try {
        await ask(path, { method: 'POST' });
        await redraw();
      } catch (error) {
        currentTarget.disabled = false;
        currentTarget.after(element('div', { class: 'critical' }, error.message));
      }
    },
  }, label);
}

function received({ id, receivedAt, webhook, status, reason, deliveryId, bodyBytes, signals, replayable, replays }, webhooks, redraw) {
  return element('tr', {},
    element('td', {}, when(receivedAt)),
    element('td', {}, webhooks.get(webhook) ?? 'removed'),
    element('td', {}, tag(status)),
    element('td', {}, deliveryId ?? '', reason === null ? '' : element('div', { class: 'info' }, reason)),
    element('td', { class: 'number' }, bodyBytes.toLocaleString()),
    element('td', {}, ...signals.slice(0, 3).map((signal) => element('div', {}, element('a', { href: `/console/trace.html?signal=${signal}` }, signal.slice(0, 8))))),
    element('td', { class: 'actions' }, replayable ? again(replays === 0 ? 'Replay' : `Replay (${replays} so far)`, `/v1/webhook-deliveries/${id}/replay`, redraw) : 'not kept'),
  );
}

function sent({ id, createdAt, endpoint, type, state, attempts, nextAt, lastFailure }, endpoints, redraw) {
  return element('tr', {},
    element('td', {}, when(createdAt)),
    element('td', {}, endpoints.get(endpoint) ?? 'removed'),
    element('td', {}, type),
    element('td', {}, tag(state)),
    element('td', { class: 'number' }, String(attempts)),
    element('td', {}, lastFailure ?? '', nextAt === null ? '' : element('div', { class: 'info' }, `next ${when(nextAt)}`)),
    element('td', { class: 'actions' }, again('Deliver again', `/v1/endpoint-deliveries/${id}/redeliver`, redraw)),
  );
}

page(async function draw() {
  const main = document.querySelector('main');
  const redraw = async () => main.replaceChildren(...(await draw()));
  const [deliveries, messages, webhooks, endpoints] = await Promise.all(['/v1/webhook-deliveries?limit=50', '/v1/endpoint-deliveries?limit=50', '/v1/webhooks?limit=500', '/v1/webhook-endpoints?limit=500'].map((path) => ask(path)));
  const [from, to] = [names(webhooks.items), names(endpoints.items)];
  return [
    element('h1', {}, 'Webhooks in'),
    ...(deliveries.items.length === 0 ? [element('p', { class: 'note' }, 'Nothing was sent here within the last seven days.')] : [table(['When', 'Webhook', 'Status', 'Delivery', 'Bytes', 'Signals', ''], deliveries.items.map((item) => received(item, from, redraw)), 'in')]),
    element('h1', { class: 'later' }, 'Webhooks out'),
    ...(messages.items.length === 0 ? [element('p', { class: 'note' }, 'Nothing was sent within the last thirty days.')] : [table(['When', 'Endpoint', 'Event', 'State', 'Attempts', 'Last failure', ''], messages.items.map((item) => sent(item, to, redraw)), 'out')]),
  ];
});
