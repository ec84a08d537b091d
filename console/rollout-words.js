import { element } from './element.js';
import { statusTag } from './run-words.js';

const LOOKS = { 'promoted': 'good', 'rolled back': 'warning', 'edited by others': 'critical', 'changed nothing': 'info', 'out': 'good', 'as before': 'info', 'going out': 'going', 'waits': 'info' };
const STATES = { waiting: 'waits', running: 'going out', new: 'out', old: 'as before', edited: 'edited by others' };

/** How a rollout stands, of its run and of its units. */
export function standing({ status, units }) {
  if (status === null || status === 'running') return 'running';
  if (status !== 'completed') return status;
  if (units.every(({ state }) => state === 'waiting')) return 'changed nothing';
  if (units.every(({ state }) => state === 'new')) return 'promoted';
  return units.some(({ state }) => state === 'edited') ? 'edited by others' : 'rolled back';
}

export function standingTag(rollout) {
  const words = standing(rollout);
  return words in LOOKS ? element('span', { class: `status ${LOOKS[words]}` }, words) : statusTag(words);
}

export function unitTag({ state }) {
  return element('span', { class: `status ${LOOKS[STATES[state]]}` }, STATES[state]);
}

/** `main shop/web:1 → shop/web:2`, for each container that changes; what is equal in both is left out. */
export function imagesOf({ from, to }) {
  return Object.entries(to).map(([container, image]) => {
    const [repository, tag] = parts(image);
    const [before, old] = parts(from[container] ?? '');
    return element('div', { class: 'image', title: `${container}: ${from[container] ?? ''} → ${image}` }, element('span', { class: 'kind' }, container), ' ', ...(before === repository ? [repository, element('code', {}, `${old} → ${tag}`)] : [element('code', {}, `${from[container] ?? ''} → ${image}`)]));
  });
}

/** Repository and tag or digest. */
function parts(image) {
  const found = /^(.*?)([:@][^/]+)$/.exec(image);
  return found === null ? [image, ''] : [found[1], found[2]];
}
