import { element } from './element.js';

const LOOKS = { 'running': 'going', 'completed': 'good', 'failed': 'critical', 'timed-out': 'critical', 'cancelled': 'info', 'terminated': 'warning', 'paused': 'warning', 'open': 'going', 'pending': 'going', 'decided': 'good', 'fired': 'good', 'done': 'good', 'approved': 'good', 'delivered': 'good', 'refused': 'critical', 'expired': 'warning', 'abandoned': 'critical' };

/** How a run or a step stands: a word with a dot. */
export function statusTag(status) {
  return element('span', { class: `status ${LOOKS[status] ?? 'info'}` }, status);
}

/** The status that people see: a running run that is held says so. */
export function shownStatus({ status, pausedAt }) {
  return status === 'running' && pausedAt ? 'paused' : status;
}

/** The end of a run's number: the beginning of those made at one time is the same. */
export function shortId(runId) {
  return (runId.split('~')[1] ?? runId).slice(-8);
}

export function runLink(runId, text = shortId(runId)) {
  return element('a', { href: `/console/run.html?id=${encodeURIComponent(runId)}` }, text);
}

/** Milliseconds as `340 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. */
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h ${Math.floor((ms % 3_600_000) / 60_000)} min`;
  return `${Math.floor(ms / 86_400_000)} d ${Math.floor((ms % 86_400_000) / 3_600_000)} h`;
}

export function took({ startedAt, closedAt, endedAt }) {
  return duration(Date.parse(closedAt ?? endedAt ?? new Date().toISOString()) - Date.parse(startedAt));
}

const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'narrow' });

/** A time as `5 min ago`, with the exact one on the pointer. */
export function ago(text) {
  if (text === null || text === undefined) return element('span', {}, '');
  const seconds = Math.round((Date.parse(text) - Date.now()) / 1000);
  const [unit, size] = [['second', 1], ['minute', 60], ['hour', 3600], ['day', 86_400]].findLast(([, length]) => Math.abs(seconds) >= length) ?? ['second', 1];
  return element('time', { datetime: text, title: new Date(text).toLocaleString() }, Math.abs(seconds) < 5 ? 'just now' : RELATIVE.format(Math.trunc(seconds / size), unit));
}

/** `api-key:0d3f…` in words. */
export function actor(text) {
  if (text === null || text === undefined) return '';
  const [kind, ...rest] = text.split(':');
  const id = rest.join(':');
  return { 'api-key': `API key ${id.slice(0, 8)}`, 'user': `user ${id.slice(0, 8)}`, 'system': `HAL9 ${id}`, 'service': `service ${id.slice(0, 8)}` }[kind] ?? text;
}

/**
 * Asks before something is done.
 * @returns what was entered in `fields` by name; undefined when they changed their mind.
 */
export function confirmDialog(title, about, label, fields = [], look = 'chief') {
  return new Promise((resolve) => {
    let answer;
    const dialog = element('dialog', { 'aria-label': title, close: () => {
      dialog.remove();
      resolve(answer);
    } },
      element('h2', {}, title),
      ...[about].flat().map((line) => (typeof line === 'string' ? element('p', {}, line) : line)),
      element('form', { method: 'dialog', submit: (event) => {
        answer = Object.fromEntries(new FormData(event.target));
      } },
        ...fields,
        element('div', { class: 'bar end' }, element('button', { type: 'button', click: () => dialog.close() }, 'Back'), element('button', { class: look, id: 'confirm' }, label))),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A sentence that comes up at the edge and is read aloud. */
export function say(text, look = 'info') {
  let place = document.querySelector('#said');
  if (place === null) {
    place = element('div', { id: 'said', role: 'status', 'aria-live': 'polite' });
    document.body.append(place);
  }
  const line = element('p', { class: look }, text);
  place.append(line);
  setTimeout(() => line.remove(), look === 'critical' ? 12_000 : 5000);
}

/** Runs what a button asks for; a refusal is said. @returns whether it went well. */
export async function doing(button, work) {
  button.disabled = true;
  try {
    await work();
    return true;
  } catch (error) {
    say(error.message, 'critical');
    return false;
  } finally {
    button.disabled = false;
  }
}
