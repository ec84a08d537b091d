import { ask, element, page, when } from './session.js';

page(async () => {
  const { items } = await ask('/v1/incidents?limit=50');
  const rows = items.map((incident) =>
    element('tr', {},
      element('td', {}, when(incident.openedAt)),
      element('td', {}, element('span', { class: `tag ${incident.severity}` }, incident.state)),
      element('td', {}, incident.cause ?? 'not known'),
      element('td', {}, incident.members.map((member) => member.subject ?? member.source ?? '').filter(Boolean).slice(0, 4).join(', ')),
      element('td', {}, ...incident.decisions.map((decision) => element('div', {}, decision.summary, ' ', element('span', { class: 'info' }, decision.state)))),
      element('td', {}, ...incident.runs.map((run) => element('div', {}, run.split('~')[0] ?? run))),
    ),
  );
  const head = ['Opened', 'State', 'Likely cause', 'Evidence', 'Decision', 'Run'].map((title) => element('th', {}, title));
  return [
    element('h1', {}, 'Incidents'),
    ...(rows.length === 0
      ? [element('p', { class: 'note' }, 'Nothing was found. A quiet machine stays quiet.')]
      : [element('table', {}, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...rows))]),
  ];
});
