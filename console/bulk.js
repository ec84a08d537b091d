import { confirmDialog, say, shortId } from './run-words.js';
import { ask, element } from './session.js';

/** Most runs that are gathered for one action here. */
const MOST = 1000;
const AT_ONCE = 4;
const ACTIONS = {
  cancel: { label: 'Cancel', title: (count) => `Cancel ${count}?`, about: 'Each is asked to stop and cleans up first.', may: ({ status }) => status === 'running', look: 'chief', past: 'asked to stop' },
  terminate: { label: 'Terminate', title: (count) => `Terminate ${count}?`, about: 'Each ends at once, without cleaning up. What it began outside stays as it is.', may: ({ status }) => status === 'running', look: 'danger', past: 'terminated' },
  retry: { label: 'Retry', title: (count) => `Retry ${count}?`, about: 'For each a new run is started with the same input.', may: ({ status, retriedBy }) => status !== 'running' && !retriedBy, look: 'chief', past: 'started again' },
};

const runs = (count) => `${count} ${count === 1 ? 'run' : 'runs'}`;

/** All runs that match, newest first, at most 1,000. */
export async function collect(filter) {
  const found = [];
  let cursor = null;
  do {
    const query = new URLSearchParams(filter);
    query.set('limit', '200');
    if (cursor !== null) query.set('cursor', cursor);
    const page = await ask(`/v1/runs?${query}`);
    found.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== null && found.length < MOST);
  return found.slice(0, MOST);
}

/**
 * What there is to do with the runs that are chosen.
 * @param everything is given when more match than the page shows.
 */
export function bulkBar({ chosen, everything, done, clear }) {
  if (chosen.length === 0) return [];
  const report = element('div', { class: 'report' });
  const buttons = Object.entries(ACTIONS).map(([verb, { label, may }]) => {
    const able = chosen.filter(may);
    return element('button', {
      'type': 'button',
      'data-verb': verb,
      ...(able.length === 0 ? { disabled: '' } : {}),
      'click': async () => {
        if (await perform(verb, able, report)) await done();
      },
    }, able.length === chosen.length ? label : `${label} ${able.length}`);
  });
  return [
    element('div', { class: 'bulk' },
      element('strong', {}, `${runs(chosen.length)} chosen`),
      everything === undefined ? undefined : element('button', { type: 'button', class: 'quiet', click: async ({ currentTarget }) => {
        currentTarget.disabled = true;
        try {
          everything.take(await collect(everything.filter));
        } catch (error) {
          say(error.message, 'critical');
        }
      } }, `Choose all that match, at most ${MOST.toLocaleString()}`),
      ...buttons,
      element('button', { type: 'button', class: 'quiet', click: clear }, 'Choose none')),
    report,
  ];
}

/**
 * Asks, does it run by run and says what came of it.
 * @returns whether it was begun.
 */
export async function perform(verb, items, place, which = '') {
  const { title, about, label, look, past } = ACTIONS[verb];
  const reason = verb === 'terminate' ? [element('label', { class: 'field' }, element('span', {}, 'Reason'), element('input', { name: 'reason', required: '', maxlength: 500, autocomplete: 'off' }))] : [];
  const answer = await confirmDialog(title(runs(items.length)), [which, about].filter(Boolean), `${label} ${runs(items.length)}`, reason, look);
  if (answer === undefined) return false;
  const bar = element('progress', { max: items.length, value: 0 });
  const line = element('p', { role: 'status' }, '');
  place.replaceChildren(bar, line);
  const refused = [];
  let done = 0;
  const queue = [...items];
  const work = async () => {
    for (let run = queue.shift(); run !== undefined; run = queue.shift()) {
      try {
        await ask(`/v1/runs/${encodeURIComponent(run.runId)}/${verb}`, { method: 'POST', ...(verb === 'terminate' ? { body: { reason: answer.reason } } : {}) });
      } catch (error) {
        refused.push(`${run.operation} ${shortId(run.runId)}: ${error.message}`);
      }
      done += 1;
      bar.value = done;
      line.textContent = `${done} of ${items.length}`;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  bar.remove();
  line.textContent = `${runs(items.length - refused.length)} ${past}${refused.length === 0 ? '' : `, ${refused.length} refused`}.`;
  for (const text of refused.slice(0, 20)) line.after(element('p', { class: 'problem' }, text));
  say(line.textContent, refused.length === 0 ? 'good' : 'critical');
  return true;
}
