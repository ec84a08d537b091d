import { actor, ago, confirmDialog, doing, duration, runLink, say, shortId, shownStatus, statusTag, took } from './run-words.js';
import { schemaForm } from './schema-form.js';
import { ask, element, listen, page, when } from './session.js';

const id = new URLSearchParams(location.search).get('id') ?? '';
const path = `/v1/runs/${encodeURIComponent(id)}`;
const KINDS = { 'run': 'run', 'activity': 'step', 'local-activity': 'quick step', 'child': 'run started', 'timer': 'wait', 'signal': 'signal', 'update': 'change', 'cancellation': 'cancellation' };
/** Messages that HAL9 itself sends, in words. */
const OWN = { 'hal9-pause': 'paused', 'hal9-resume': 'resumed' };
/** Changes are gathered for so long before the page is read again, ms. */
const GATHER_MS = 250;
/** Causes of a decision that are looked at for a signal. */
const MOST_CAUSES = 5;

let payloads = false;
let stop = new AbortController();

/** Asks, does it and reads the run again. */
async function act(button, verb, done, body) {
  await doing(button, async () => {
    await ask(`${path}/${verb}`, { method: 'POST', ...(body === undefined ? {} : { body }) });
    say(done, 'good');
    await redraw();
  });
}

function button(label, click, attributes = {}) {
  return element('button', { type: 'button', click: ({ currentTarget }) => void click(currentTarget), ...attributes }, label);
}

function actions(run, operation) {
  const open = run.status === 'running';
  const signals = Object.keys(operation?.signals ?? {});
  return open ? [
      run.pausedAt === null
        ? button('Pause', (self) => act(self, 'pause', 'It is held before its next step.'), { id: 'pause' })
        : button('Resume', (self) => act(self, 'resume', 'It goes on.'), { id: 'resume', class: 'chief' }),
      ...(signals.length === 0 ? [] : [button('Signal', () => signalDialog(operation, signals), { id: 'signal' })]),
      button('Cancel', async (self) => {
        if (await confirmDialog('Cancel this run?', 'It is asked to stop and cleans up first.', 'Cancel the run')) await act(self, 'cancel', 'It was asked to stop.');
      }, { id: 'cancel' }),
      button('Terminate', async (self) => {
        const answer = await confirmDialog('Terminate this run?', 'It ends at once, without cleaning up. What it began outside stays as it is.', 'Terminate the run', [reasonField()], 'danger');
        if (answer !== undefined) await act(self, 'terminate', 'It was terminated.', { reason: answer.reason });
      }, { id: 'terminate' }),
  ] : [
      button('Retry', async (self) => {
        if (!(await confirmDialog('Start it again?', 'A new run is started with the same input. This one stays as it is.', 'Start again'))) return;
        await doing(self, async () => {
          const { runId } = await ask(`${path}/retry`, { method: 'POST' });
          location.assign(`/console/run.html?id=${encodeURIComponent(runId)}`);
        });
      }, { id: 'retry', ...(run.status === 'completed' ? {} : { class: 'chief' }) }),
  ];
}

function reasonField(value = '') {
  return element('label', { class: 'field' }, element('span', {}, 'Reason'), element('input', { name: 'reason', required: '', maxlength: 500, autocomplete: 'off', value }));
}

async function signalDialog(operation, names) {
  const problem = element('p', { class: 'problem', role: 'alert', hidden: '' });
  const place = element('div', {});
  let name = names[0];
  let form;
  const choose = (next) => {
    name = next;
    form = schemaForm(operation.signals[name].payload, 'payload');
    place.replaceChildren(element('p', { class: 'note' }, operation.signals[name].description), form.made);
  };
  choose(name);
  const dialog = element('dialog', { 'aria-label': 'Send a signal', 'class': 'start', 'close': () => dialog.remove() },
    element('h2', {}, 'Send a signal'),
    element('form', { id: 'send-signal', submit: async (event) => {
      event.preventDefault();
      try {
        await ask(`${path}/signals/${name}`, { method: 'POST', body: { payload: form.read() } });
        dialog.close();
        say('The signal was sent.', 'good');
        await redraw();
      } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
      }
    } },
      element('div', { class: 'field' }, element('label', { for: 'signal-name' }, 'Signal'), element('select', { id: 'signal-name', change: ({ target }) => choose(target.value) }, ...names.map((each) => element('option', {}, each)))),
      place, problem, element('div', { class: 'bar end' }, element('button', { type: 'button', click: () => dialog.close() }, 'Back'), element('button', { class: 'chief' }, 'Send'))));
  document.body.append(dialog);
  dialog.showModal();
}

/** Shows what would happen again, and does it if they still want to. */
async function replay(self, fromEvent) {
  await doing(self, async () => {
    const plan = await ask(`${path}/replay`, { method: 'POST', body: { fromEvent, dryRun: true } });
    const effect = { pure: 'A second execution changes nothing outside.', idempotent: 'A second execution has the effect of one.', irreversible: 'What these steps did outside cannot be undone, and may be done a second time.' }[plan.effect];
    const answer = await confirmDialog('Begin again from here?', [
      plan.repeated.length === 0 ? 'No step that happened would happen again.' : `${plan.repeated.length} ${plan.repeated.length === 1 ? 'step' : 'steps'} would happen again:`,
      element('ul', { class: 'repeated' }, ...plan.repeated.slice(0, 30).map(({ name, kind, state }) => element('li', {}, name, ' ', element('span', { class: 'kind' }, KINDS[kind] ?? kind), ' ', statusTag(state)))),
      element('p', { class: plan.effect === 'irreversible' ? 'problem' : 'note' }, effect ?? ''),
    ], 'Begin again', [reasonField('replayed from the console')], plan.effect === 'irreversible' ? 'danger' : 'chief');
    if (answer === undefined) return;
    await ask(`${path}/replay`, { method: 'POST', body: { fromEvent, reason: answer.reason } });
    say('The run goes on from there.', 'good');
    await redraw();
    void follow();
  });
}

function progressBar({ progress, status, pausedAt }) {
  if (progress === null || status !== 'running') return [];
  const { step, done, total, message } = progress;
  return [element('section', { class: 'card progress', id: 'progress' },
    element('div', { class: 'progress-head' }, element('strong', {}, step), element('span', {}, message), element('span', { class: 'count' }, total === null ? `${done.toLocaleString()} done` : `${done.toLocaleString()} of ${total.toLocaleString()}`)),
    total === null && !pausedAt ? element('progress', { 'aria-label': step }) : element('progress', { 'max': Math.max(1, total ?? 1), 'value': Math.min(done, total ?? 0), 'aria-label': step }))];
}

function approvals(items) {
  return items.map((approval) => {
    const said = approval.answers.filter(({ approved }) => approved).length;
    const answer = (verb) => async (self) => {
      const given = await confirmDialog(verb === 'approve' ? 'Approve?' : 'Refuse?', approval.summary, verb === 'approve' ? 'Approve' : 'Refuse', [element('label', { class: 'field' }, element('span', {}, 'Comment, kept with the answer'), element('input', { name: 'comment', maxlength: 2000, autocomplete: 'off' }))], verb === 'approve' ? 'chief' : 'danger');
      if (given === undefined) return;
      await doing(self, async () => {
        await ask(`/v1/approvals/${approval.id}/${verb}`, { method: 'POST', body: given.comment === '' ? {} : { comment: given.comment } });
        say(verb === 'approve' ? 'Approved.' : 'Refused.', 'good');
        await redraw();
      });
    };
    return element('section', { class: 'card waits' },
      element('h2', {}, 'Waits for an approval'), element('p', {}, approval.summary), element('p', { class: 'note' }, approval.reason, ` ${said} of ${approval.required} have approved. Until `, when(approval.deadlineAt), '.', ...(approval.escalatedAt === null ? [] : [' Escalated ', when(approval.escalatedAt), '.'])),
      element('p', { class: 'note approvers' }, 'May still approve: ', approval.waitsFor.join(', ') || 'nobody', '.'),
      approval.mayAnswer ? element('div', { class: 'bar' }, button('Approve', answer('approve'), { class: 'chief' }), button('Refuse', answer('refuse'))) : element('div', { class: 'bar' }, button('Refuse', answer('refuse')), element('span', { class: 'note' }, 'You cannot approve it, or have answered.')));
  });
}

function pending({ pendingActivities }) {
  if (pendingActivities.length === 0) return [];
  return [element('section', { class: 'card', id: 'pending' }, element('h2', {}, 'Now'), element('ul', { class: 'pending' }, ...pendingActivities.map(({ name, state, attempt, explanation, lastFailure, nextAttemptAt }) =>
    element('li', {}, element('div', {}, element('strong', {}, name), ' ', element('span', { class: `status ${state === 'retrying' ? 'critical' : 'going'}` }, state), attempt > 1 ? element('span', { class: 'kind' }, ` attempt ${attempt}`) : ''),
      state === 'retrying' && lastFailure !== null
        ? element('p', {}, `The last attempt failed with ${lastFailure.type}: ${lastFailure.message}. `, nextAttemptAt === null ? '' : element('span', { class: 'note' }, 'Next attempt ', ago(nextAttemptAt), '.'))
        : element('p', { class: 'note' }, explanation)))))];
}

/** What the run did, one line a step, drawn to scale. */
function timeline(run, { steps }) {
  const begin = Math.min(...steps.map(({ startedAt }) => Date.parse(startedAt)));
  const end = Math.max(begin + 1, ...steps.map(({ endedAt, startedAt }) => Date.parse(endedAt ?? (run.status === 'running' ? new Date().toISOString() : startedAt))));
  const x = (time) => (1000 * (time - begin)) / (end - begin);
  const ended = run.status !== 'running';
  const rows = steps.filter(({ kind }) => kind !== 'run').map((step) => {
    const from = x(Date.parse(step.startedAt));
    const to = x(step.endedAt === null ? end : Date.parse(step.endedAt));
    const open = step.endedAt === null;
    const state = open && ended ? 'cancelled' : step.state;
    const summary = element('summary', {},
      element('span', { class: 'step-name' }, element('strong', {}, OWN[step.name] ?? step.name), element('span', { class: 'kind' }, KINDS[step.kind] ?? step.kind), step.attempts > 1 ? element('span', { class: 'kind' }, `${step.attempts} attempts`) : undefined),
      element('svg', { 'class': `bar-line ${state}`, 'viewBox': '0 0 1000 10', 'preserveAspectRatio': 'none', 'aria-hidden': 'true' },
        element('rect', { class: 'lane', x: 0, y: 4.5, width: 1000, height: 1 }), element('rect', { class: 'span', x: Math.min(from, 994), y: 0, width: Math.max(6, to - from), height: 10 })),
      element('span', { class: 'took' }, step.endedAt === null ? (ended ? '' : `${took(step)} so far`) : step.endedAt === step.startedAt ? '' : took(step)),
      statusTag(state));
    return element('li', { 'data-event': step.eventId },
      element('details', {}, summary,
        element('div', { class: 'step-body' },
          step.failure === null ? undefined : element('p', { class: 'problem' }, element('strong', {}, step.failure.type), ` ${step.failure.message}`),
          element('p', { class: 'note' }, 'Began ', when(step.startedAt), ` · ${duration(Date.parse(step.startedAt) - begin)} into the run · event ${step.eventId}`),
          ...('input' in step ? [payload('Input', step.input)] : []), ...('result' in step ? [payload('Result', step.result)] : []),
          step.replayable ? button('Replay from here', (self) => replay(self, step.eventId), { class: 'replay' }) : undefined)),
      step.failure === null ? undefined : element('p', { class: 'step-failure' }, `${step.failure.type}: ${step.failure.message}`));
  });
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => element('span', {}, part === 0 ? '0' : duration((end - begin) * part)));
  return element('section', { class: 'card', id: 'timeline' },
    element('div', { class: 'section-head' }, element('h2', {}, 'Timeline'), element('span', { class: 'note' }, `${rows.length} ${rows.length === 1 ? 'step' : 'steps'} in ${duration(end - begin)}`)),
    rows.length === 0 ? element('p', { class: 'note' }, 'It has done nothing yet.') : element('div', { class: 'axis-row' }, element('span', {}), element('div', { class: 'ticks' }, ...ticks)),
    element('ol', { class: 'steps' }, ...rows));
}

function payload(title, value) {
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2) ?? 'null';
  return element('figure', { class: 'payload' }, element('figcaption', {}, title), element('pre', { tabindex: '0' }, text.length > 100_000 ? `${text.slice(0, 100_000)}\n… shortened` : text));
}

/** Inputs and results are shown when somebody asks for them, who may: that is written into the audit log. */
function contents(history, outcome) {
  const first = history.steps.find(({ kind }) => kind === 'run');
  return element('section', { class: 'card', id: 'contents' },
    element('div', { class: 'section-head' }, element('h2', {}, 'Input and result'), payloads ? undefined : button('Show', async (self) => {
      payloads = true;
      if (!(await doing(self, redraw))) payloads = false;
    }, { id: 'show-payloads' })),
    payloads ? element('div', { class: 'two' }, payload('Input', first?.input ?? null), outcome?.status === 'completed' ? payload('Result', outcome.result ?? null) : element('p', { class: 'note' }, outcome?.failure === undefined ? 'There is no result yet.' : `It ended without one: ${outcome.failure.message}`)) : element('p', { class: 'note' }, 'They are encrypted, and decrypted only when you ask.'));
}

function facts(run, trace) {
  const list = [
    ['Started', ago(run.startedAt)], [run.closedAt === null ? 'Running for' : 'Took', took(run)], ['By', `${actor(run.startedBy)}${run.origin === 'api' ? '' : ` (${run.origin})`}`],
    ...(run.tags.length === 0 ? [] : [['Tags', element('span', {}, ...run.tags.map((tag) => element('a', { class: 'chip', href: `/console/runs.html?tag=${encodeURIComponent(tag)}` }, tag)))]]),
    ...(run.retryOf === null ? [] : [['Retry of', runLink(run.retryOf)]]), ...(run.retriedBy === null ? [] : [['Retried by', runLink(run.retriedBy)]]),
    ...(run.epoch > 0 ? [['Replayed', run.epoch === 1 ? 'once' : `${run.epoch} times`]] : []),
    ...Object.entries(run.memo ?? {}),
    ...(trace === undefined ? [] : [['Because', element('a', { href: trace.href, id: 'because' }, trace.summary)]]),
  ];
  return element('dl', { class: 'facts' }, ...list.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))));
}

/** A run that a decision started has the decision's number. It links to the tree of its signal, or to the incident where it rests on emissions. */
async function traceOf({ origin, runId }) {
  if (origin !== 'decision') return undefined;
  const decision = await ask(`/v1/decisions/${runId.split('~')[1]}`);
  for (const cause of decision.causes.slice(0, MOST_CAUSES)) {
    if (await ifAllowed(() => ask(`/v1/signals/${cause}`), undefined)) return { href: `/console/trace.html?signal=${cause}`, summary: decision.summary };
  }
  return { href: '/console/incidents.html', summary: decision.summary };
}

/** Parts of the page that some people may not see are left out for them. */
async function ifAllowed(work, otherwise) {
  try {
    return await work();
  } catch (error) {
    if ([403, 404].includes(error.status)) return otherwise;
    throw error;
  }
}

async function draw() {
  if (id === '') return [element('p', { class: 'problem' }, 'The address names no run.'), element('a', { href: '/console/runs.html' }, 'All runs')];
  const [run, { items: operations }] = await Promise.all([ask(`${path}?include=pending`), ifAllowed(() => ask('/v1/workflows'), { items: [] })]);
  const open = run.status === 'running';
  const [history, waiting, outcome, trace] = await Promise.all([
    payloads ? ask(`${path}/history?payloads=true`) : ifAllowed(() => ask(`${path}/history`), { steps: [] }),
    open ? ifAllowed(() => ask('/v1/approvals?state=open&limit=500'), { items: [] }) : { items: [] },
    open ? undefined : ask(`${path}/result`),
    ifAllowed(() => traceOf(run), undefined),
  ]);
  document.title = `${run.operation} ${shortId(run.runId)} · HAL9`;
  document.body.dataset.status = run.status;
  const operation = operations.find(({ type }) => type === run.operation);
  return [
    element('nav', { 'class': 'crumbs', 'aria-label': 'Where' }, element('a', { href: '/console/runs.html' }, 'Runs'), ' / ', element('a', { href: `/console/runs.html?type=${encodeURIComponent(run.operation)}` }, run.operation)),
    element('div', { class: 'title' }, element('h1', {}, run.operation), element('code', { title: run.runId }, shortId(run.runId)), statusTag(shownStatus(run)),
      element('div', { class: 'bar push' }, ...actions(run, operation), element('a', { class: 'button', id: 'trace', href: `/console/trace.html?run=${encodeURIComponent(run.runId)}` }, 'Trace'), run.operation === 'browser' ? element('a', { class: 'button', id: 'browser', href: `/console/browser.html?id=${encodeURIComponent(run.runId)}` }, 'What the browser did') : undefined, run.operation === 'rollout' ? element('a', { class: 'button', id: 'rollout', href: `/console/rollout.html?id=${encodeURIComponent(run.runId)}` }, 'What goes out where') : undefined, run.links.temporal === undefined ? undefined : element('a', { class: 'button', id: 'temporal', href: run.links.temporal, target: '_blank', rel: 'noreferrer' }, 'Temporal UI ↗'))),
    facts(run, trace),
    ...(outcome?.failure === undefined ? [] : [element('section', { class: 'card failed', id: 'failure' }, element('h2', {}, outcome.failure.type), element('p', {}, outcome.failure.message), advice(operation, outcome.failure.type))]),
    ...approvals(waiting.items.filter(({ runId }) => runId === run.runId)),
    ...progressBar(run),
    ...pending(run),
    ...(history.steps.length === 0 ? [] : [timeline(run, history), contents(history, outcome)]),
  ];
}

/** What to do now: by the operation for failures of its own, else by HAL9's page about the type. */
function advice(operation, type) {
  const own = operation?.errors[type];
  return element('p', { class: 'note' }, own === undefined ? element('a', { href: `/problems/${type}` }, 'What it means and what to do') : own.remedy);
}

/** Draws again; steps that were opened stay open. */
async function redraw() {
  const main = document.querySelector('main');
  const opened = new Set([...main.querySelectorAll('li[data-event] details[open]')].map((details) => details.parentElement.dataset.event));
  const parts = await draw();
  main.replaceChildren(...parts);
  for (const event of opened) main.querySelector(`li[data-event="${event}"] details`)?.setAttribute('open', '');
}

/** Follows the run to its end: progress at once, the rest a moment later. */
async function follow() {
  stop.abort();
  stop = new AbortController();
  const { signal } = stop;
  if (document.body.dataset.status !== 'running') return;
  let gathering;
  const hear = ({ type, data }) => {
    if (type === 'progress') document.querySelector('#progress')?.replaceWith(...progressBar({ progress: data.progress ?? data, status: 'running', pausedAt: null }));
    if (gathering === undefined) gathering = setTimeout(() => {
      gathering = undefined;
      if (!signal.aborted && document.querySelector('dialog[open]') === null) void redraw().catch((error) => say(error.message, 'critical'));
    }, GATHER_MS);
  };
  try {
    await listen(`${path}/stream`, hear, signal);
  } catch (error) {
    say(error.message, 'critical');
  }
}

page(async () => {
  const parts = await draw();
  setTimeout(() => void follow());
  return parts;
});
