import { ask, element, page } from './session.js';

const DAYS = 30;
const DAY_MS = 86_400_000;
const [WIDTH, HEIGHT, LEFT, TOP, BOTTOM] = [760, 190, 62, 12, 24];
const TITLES = { 'runs': 'Runs', 'signals': 'Signals', 'tokens': 'Tokens', 'browser-seconds': 'Browser', 'storage-byte-hours': 'Storage', 'plugin-cpu-ms': 'Plugin CPU' };
const LIMITS = { openRuns: 'Open runs', apiKeys: 'API keys', seats: 'Seats', retentionDays: 'Retention, days', requestsPerSecond: 'Requests a second', keyRequestsPerSecond: 'Requests a second of a key' };

/** A quantity as people read it: `1.2 M`, `3.4 GiB·h`. */
function readable(meter, quantity) {
  if (meter === 'storage-byte-hours') return `${scaled(quantity, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB'])}·h`;
  if (meter === 'browser-seconds') return quantity < 3600 ? `${quantity} s` : `${trimmed(quantity / 3600)} h`;
  if (meter === 'plugin-cpu-ms') return quantity < 60_000 ? `${trimmed(quantity / 1000)} s` : `${trimmed(quantity / 60_000)} min`;
  return scaled(quantity, 1000, ['', 'k', 'M', 'G', 'T']);
}

function scaled(quantity, base, units) {
  let value = quantity;
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit += 1;
  }
  return `${trimmed(value)} ${units[unit]}`.trim();
}

function trimmed(value) {
  return String(value >= 100 || Number.isInteger(value) ? Math.round(value) : Number(value.toPrecision(2)));
}

/** Least of 1, 2, 4, 6 times a power of ten (of two for bytes) that is not below: its half is a whole number of them. */
function ceiling(meter, value) {
  if (meter === 'storage-byte-hours') return 2 ** Math.ceil(Math.log2(Math.max(value, 1)));
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 2)));
  return [1, 2, 4, 6, 10].map((step) => step * power).find((step) => step >= Math.max(value, 2)) ?? value;
}

/** How much of the quota is used: a bar with a mark at the soft quota, and the projection behind it. */
function gauge({ meter, used, projected, soft, hard, state }) {
  const whole = hard ?? Math.max(soft ?? 0, projected, used, 1);
  const part = (value) => Math.min(240, (240 * value) / whole);
  const limit = hard ?? soft;
  return element('div', { class: `gauge ${state}` },
    element('h2', {}, TITLES[meter] ?? meter),
    element('p', { class: 'figure' }, readable(meter, used), element('span', { class: 'info' }, limit === null ? ' · no quota' : ` of ${readable(meter, limit)}`)),
    element('svg', { width: 240, height: 14, viewBox: '0 0 240 14', role: 'img', 'aria-label': `${TITLES[meter] ?? meter}: ${used} used, ${projected} projected, ${limit ?? 'no'} quota` },
      element('title', {}, `${used} used, ${projected} expected at the end of the month`),
      element('rect', { class: 'track', x: 0.5, y: 3.5, width: 239, height: 7, rx: 3.5 }),
      ...(limit === null ? [] : [element('rect', { class: 'expected', x: 0, y: 3, width: part(projected), height: 8, rx: 4 }), element('rect', { class: 'used', x: 0, y: 3, width: part(used), height: 8, rx: 4 })]),
      ...(soft === null || hard === null ? [] : [element('rect', { class: 'mark', x: part(soft) - 1, y: 0, width: 2, height: 14 })]),
    ),
    element('p', { class: 'note' }, state === 'within' ? `about ${readable(meter, projected)} at the end of the month` : state === 'over-soft' ? 'over what the plan includes' : 'the quota is used up'),
  );
}

/** Bars by day. */
function chart(meter, series) {
  const today = Date.parse(`${new Date().toISOString().slice(0, 10)}T00:00:00Z`);
  const days = Array.from({ length: DAYS }, (_, index) => today - (DAYS - 1 - index) * DAY_MS);
  const byDay = new Map(series.filter((point) => point.meter === meter).map((point) => [Date.parse(point.start), point.quantity]));
  const top = ceiling(meter, Math.max(...days.map((day) => byDay.get(day) ?? 0), 1));
  const [width, height] = [WIDTH - LEFT - 8, HEIGHT - TOP - BOTTOM];
  const y = (value) => TOP + height - (height * value) / top;
  const step = width / DAYS;
  const lines = [0, 0.5, 1].flatMap((part) => [
    element('path', { class: 'grid', d: `M${LEFT} ${y(top * part)}H${LEFT + width}` }),
    element('text', { class: 'axis', x: LEFT - 8, y: y(top * part) + 4, 'text-anchor': 'end' }, part === 0 ? '0' : readable(meter, top * part)),
  ]);
  const bars = days.map((day, index) => {
    const value = byDay.get(day) ?? 0;
    const date = new Date(day).toISOString().slice(0, 10);
    return element('g', { class: 'day' },
      element('title', {}, `${date}: ${readable(meter, value)}`),
      element('rect', { class: 'hit', x: LEFT + index * step, y: TOP, width: step, height }),
      element('rect', { class: 'bar', x: LEFT + index * step + step * 0.15, y: y(value), width: step * 0.7, height: Math.max(0, TOP + height - y(value)), rx: 2 }),
      ...(index % 7 === 1 ? [element('text', { class: 'axis', x: LEFT + (index + 0.5) * step, y: HEIGHT - 6, 'text-anchor': 'middle' }, date.slice(5))] : []),
    );
  });
  return element('figure', { class: 'chart' },
    element('figcaption', {}, `${TITLES[meter] ?? meter} a day, last ${DAYS} days (UTC)`),
    element('svg', { width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${TITLES[meter] ?? meter} a day` }, ...lines, ...bars),
  );
}

function statementTable(statements) {
  const meters = Object.keys(TITLES);
  const head = ['Month', 'Plan', ...Object.values(TITLES), 'Hash'].map((title) => element('th', {}, title));
  const rows = statements.map((statement) =>
    element('tr', {},
      element('td', {}, statement.month),
      element('td', {}, statement.plan),
      ...meters.map((meter) => element('td', { class: 'number' }, readable(meter, statement.lines.find((line) => line.meter === meter)?.quantity ?? 0))),
      element('td', { class: 'info', title: statement.hash }, statement.hash.slice(0, 12)),
    ),
  );
  return element('table', {}, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...rows));
}

page(async () => {
  const from = new Date(Date.parse(`${new Date().toISOString().slice(0, 10)}T00:00:00Z`) - (DAYS - 1) * DAY_MS).toISOString();
  const [summary, series, statements] = await Promise.all([ask('/v1/usage/summary'), ask(`/v1/usage?by=day&from=${encodeURIComponent(from)}`), ask('/v1/statements')]);
  const used = Object.keys(TITLES).filter((meter) => series.items.some((point) => point.meter === meter));
  return [
    element('h1', {}, `Usage in ${summary.month}`),
    element('p', { class: 'note' }, `Plan ${summary.plan}. `, summary.limits.map(({ name, used: count, limit }) => `${LIMITS[name] ?? name}: ${count === null ? '' : count}${limit === null ? (count === null ? 'no limit' : '') : count === null ? limit : ` of ${limit}`}`).join(' · ')),
    element('div', { class: 'gauges' }, ...summary.meters.map(gauge)),
    ...(used.length === 0 ? [element('p', { class: 'note' }, 'Nothing was used in the last 30 days.')] : [element('div', { class: 'charts' }, ...used.map((meter) => chart(meter, series.items)))]),
    element('h1', {}, 'Statements'),
    ...(statements.items.length === 0 ? [element('p', { class: 'note' }, 'No month has closed yet.')] : [statementTable(statements.items)]),
  ];
});
