import { ask, element, page, when } from './session.js';

page(async () => {
  const [{ items }, { items: actions }] = await Promise.all([ask('/v1/incidents?limit=50'), ask('/v1/remediation-actions?limit=500')]);
  const done = Map.groupBy(actions.toReversed(), ({ incidentId }) => incidentId);
  const rows = items.map((incident) =>
    element('tr', {},
      element('td', {}, when(incident.openedAt)),
      element('td', {}, element('span', { class: `tag ${incident.severity}` }, incident.state)),
      element('td', {}, incident.cause ?? 'not known'),
      element('td', {}, incident.members.map((member) => member.subject ?? member.source ?? '').filter(Boolean).slice(0, 4).join(', ')),
      element('td', {}, ...incident.decisions.map((decision) => element('div', {}, decision.summary, ' ', element('span', { class: 'info' }, decision.state)))),
      element('td', {}, ...incident.runs.map((run) => element('div', {}, run.split('~')[0] ?? run))),
      element('td', {}, ...(done.get(incident.id) ?? []).map(({ action, target, state, detail }) => element('div', { title: detail }, `${action} ${target} `, element('span', { class: state === 'done' ? 'info' : 'tag warning' }, state)))),
    ),
  );
  const head = ['Opened', 'State', 'Likely cause', 'Evidence', 'Decision', 'Run', 'Actions'].map((title) => element('th', {}, title));
  return [
    element('h1', {}, 'Incidents'),
    ...(rows.length === 0
      ? [element('p', { class: 'note' }, 'Nothing was found. A quiet machine stays quiet.')]
      : [element('table', {}, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...rows))]),
  ];
});
