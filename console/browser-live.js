import { ask, element } from './session.js';

/** Behind the hash, which no server sees; the link itself is the credential, so nobody has to sign in to look. */
const token = location.hash.slice(1);
const path = `/live/${encodeURIComponent(token)}`;
/** Between two sendings of what was done, ms. */
const SEND_MS = 50;
const MOST_AT_ONCE = 200;
const BUTTONS = ['left', 'middle', 'right'];

const screen = element('canvas', { class: 'screen watching', tabindex: 0, role: 'application', 'aria-label': 'The page, live' });
const state = element('span', { class: 'state', role: 'status' }, 'Waiting for the page …');
const done = element('button', { type: 'button', id: 'hand-back', hidden: '', click: () => void handBack() }, 'Done, hand back');
const take = element('button', { type: 'button', id: 'take-over', hidden: '', click: () => void takeOver() }, 'Take over');
const problem = element('p', { class: 'problem', hidden: '' });
const waiting = element('div', { class: 'waiting' }, 'A browser is on its way.');
let queue = [];
let sending = false;
let shown;
let over = false;

function say(text) {
  problem.textContent = text;
  problem.hidden = text === '';
}

/** Pictures one after the other, the newest last. */
async function watch() {
  while (!over) {
    const response = await fetch(`${path}/frames`, { headers: { Accept: 'text/event-stream' } });
    if (!response.ok) {
      const refused = await response.json().catch(() => ({}));
      end(refused.detail ?? 'The link is over: open the live view again.');
      return;
    }
    await read(response.body).catch(() => undefined); // the connection broke: it is opened again
    if (!over) await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done: ended } = await reader.read();
    if (ended) return;
    text += value;
    const blocks = text.split('\n\n');
    text = blocks.pop();
    for (const block of blocks) {
      const event = /^event: (.*)$/m.exec(block)?.[1];
      if (event === 'over') end('The view is over: the session ended, or the link did.');
      else if (event === 'frame') await show(JSON.parse(/^data: (.*)$/m.exec(block)[1]));
    }
  }
}

async function show(frame) {
  const picture = new Image();
  picture.src = `data:image/jpeg;base64,${frame.picture}`;
  await picture.decode();
  if (screen.width !== picture.width || screen.height !== picture.height) {
    screen.width = picture.width;
    screen.height = picture.height;
  }
  screen.getContext('2d').drawImage(picture, 0, 0);
  if (!screen.isConnected) waiting.replaceWith(screen);
  if (shown?.attended !== frame.attended) {
    state.textContent = frame.attended ? 'The session waits for you: mouse and keys go to the page.' : 'The flow works: you can watch.';
    done.hidden = !frame.attended;
    take.hidden = frame.attended;
    screen.classList.toggle('watching', !frame.attended);
  }
  shown = frame;
}

function end(text) {
  over = true;
  state.textContent = text;
  done.hidden = true;
  take.hidden = true;
  screen.classList.add('watching');
}

function act(input) {
  if (shown?.attended !== true || over) return;
  // Only the last of several moves matters.
  if (input.do === 'move' && queue.at(-1)?.do === 'move') queue.pop();
  queue.push(input);
  if (!sending) void send();
}

/** In order, one sending at a time. */
async function send() {
  sending = true;
  while (queue.length > 0) {
    const inputs = queue.slice(0, MOST_AT_ONCE);
    queue = queue.slice(inputs.length);
    const response = await fetch(`${path}/inputs`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ inputs }) }).catch(() => undefined);
    say(response === undefined ? 'What you did was not sent.' : response.ok ? '' : ((await response.json().catch(() => ({}))).detail ?? 'What you did was not taken.'));
    await new Promise((resolve) => setTimeout(resolve, SEND_MS));
  }
  sending = false;
}

/** Where on the page a pointer is, in its own pixels. */
function place({ clientX, clientY }) {
  const box = screen.getBoundingClientRect();
  const at = (offset, size, pixels) => Math.min(pixels, Math.max(0, Math.round((offset / size) * pixels)));
  return { x: at(clientX - box.left, box.width, shown.width), y: at(clientY - box.top, box.height, shown.height) };
}

function listenTo(types, input) {
  for (const type of types) {
    screen.addEventListener(type, (event) => {
      if (shown === undefined) return;
      event.preventDefault();
      act(input(event));
    });
  }
}
listenTo(['mousemove'], (event) => ({ do: 'move', ...place(event) }));
listenTo(['mousedown', 'mouseup'], (event) => {
  screen.focus();
  return { do: event.type === 'mousedown' ? 'down' : 'up', ...place(event), button: BUTTONS[event.button] ?? 'left' };
});
listenTo(['wheel'], (event) => ({ do: 'wheel', ...place(event), dx: Math.round(event.deltaX), dy: Math.round(event.deltaY) }));
screen.addEventListener('contextmenu', (event) => event.preventDefault());
for (const type of ['keydown', 'keyup']) {
  screen.addEventListener(type, (event) => {
    // Pasting, and leaving the page with the keyboard, stay the browser's.
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'v') return;
    if (event.key === 'Escape' && event.shiftKey) return screen.blur();
    event.preventDefault();
    act({ do: type === 'keydown' ? 'key-down' : 'key-up', key: event.key });
  });
}
screen.addEventListener('paste', (event) => act({ do: 'text', text: event.clipboardData.getData('text').slice(0, 10_000) }));

/** Answers the question that the session waits with, as who is signed in; without one, it was taken over. */
async function handBack() {
  await asSomebody('Who looks by a link alone cannot hand back: sign in, or answer the question where you were asked.', async () => {
    const { items } = await ask('/v1/approvals?state=open&limit=200');
    const approval = items.find(({ runId }) => runId === shown.runId);
    await ask(approval === undefined ? `/v1/runs/${encodeURIComponent(shown.runId)}/browser-hand-back` : `/v1/approvals/${approval.id}/approve`, { method: 'POST', body: {} });
    done.hidden = true;
  });
}

async function takeOver() {
  await asSomebody('Who looks by a link alone cannot take over: sign in.', async () => {
    const before = state.textContent;
    state.textContent = 'The flow stops before its next step …';
    await ask(`/v1/runs/${encodeURIComponent(shown.runId)}/browser-take-over`, { method: 'POST', body: {} }).catch((error) => {
      state.textContent = before;
      throw error;
    });
    take.hidden = true;
  });
}

async function asSomebody(nobody, work) {
  try {
    await work();
    say('');
  } catch (error) {
    say(error.status === 401 || error.status === 403 ? nobody : error.message);
  }
}

const drawn = () => [element('div', { class: 'live-bar' }, element('h1', {}, 'Live page'), state, take, done), problem, waiting];

if (token === '') document.querySelector('main').replaceChildren(element('p', { class: 'problem' }, 'The address names no live view.'));
else {
  history.replaceState(null, '', location.pathname);
  document.querySelector('main').replaceChildren(...drawn());
  void watch();
}
