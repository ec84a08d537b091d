import { confirmDialog, runLink, say } from './run-words.js';
import { ask, element } from './session.js';

/** Most runs that are gathered for one action here. */
const MOST = 1000;
/** Runs acted on in a second. */
const PER_SECOND = 50;
/** Between two looks at how far it is, ms. */
const POLL_MS = 500;
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
 * @param report is where what came of it is shown.
 */
export function bulkBar({ chosen, everything, report, done, clear }) {
  if (chosen.length === 0) return [];
  const buttons = Object.entries(ACTIONS).map(([verb, { label, may }]) => {
    const able = chosen.filter(may);
    return element('button', {
      'type': 'button',
      'data-verb': verb,
      ...(able.length === 0 ? { disabled: '' } : {}),
      'click': async () => {
        try {
          if (await perform(verb, able, report)) await done();
        } catch (error) {
          say(error.message, 'critical');
        }
      },
    }, [0, chosen.length].includes(able.length) ? label : `${label} ${able.length}`);
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
  ];
}

/**
 * Asks, has HAL9 do it as a run of its own that survives this page, and says what came of it.
 * @returns whether it was begun.
 */
export async function perform(verb, items, place, which = '') {
  const { title, about, label, look, past } = ACTIONS[verb];
  const fields = verb === 'terminate' ? [element('label', { class: 'field' }, element('span', {}, 'Reason'), element('input', { name: 'reason', required: '', maxlength: 500, autocomplete: 'off' }))] : [];
  const answer = await confirmDialog(title(runs(items.length)), [which, about].filter(Boolean), `${label} ${runs(items.length)}`, fields, look);
  if (answer === undefined) return false;
  const begun = await ask('/v1/runs/bulk', { method: 'POST', body: { action: verb, runIds: items.map(({ runId }) => runId), perSecond: PER_SECOND, ...(answer.reason === undefined ? {} : { reason: answer.reason }) } });
  const bar = element('progress', { max: items.length, value: 0, 'aria-label': label });
  const line = element('p', { role: 'status' }, '');
  const abort = element('button', { type: 'button', click: async () => {
    abort.disabled = true;
    await ask(`/v1/runs/${encodeURIComponent(begun.runId)}/cancel`, { method: 'POST' }).catch((error) => say(error.message, 'critical'));
  } }, 'Leave out the rest');
  place.replaceChildren(element('section', { class: 'card' }, bar, line, element('div', { class: 'bar' }, abort, runLink(begun.runId, 'The run that does it'))));
  for (;;) {
    const { counts } = await ask(`/v1/runs/bulk/${begun.id}`);
    const left = counts.waiting + counts.doing;
    bar.value = items.length - left;
    line.textContent = left > 0 ? `${items.length - left} of ${items.length}` : `${runs(counts.done)} ${past}${counts.failed === 0 ? '' : `, ${counts.failed} refused`}${counts.aborted === 0 ? '' : `, ${counts.aborted} left out`}.`;
    if (left === 0) {
      abort.remove();
      const refused = counts.failed === 0 ? [] : (await ask(`/v1/runs/bulk/${begun.id}/items?state=failed&limit=20`)).items;
      line.after(...refused.map(({ runId, failure }) => element('p', { class: 'problem' }, runLink(runId), ` ${failure ?? ''}`)));
      say(line.textContent, counts.failed === 0 ? 'good' : 'critical');
      return true;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
