import type { HostAction } from '../../schemas/names/remedies.ts';
import { realpath } from 'node:fs/promises';
import type { ActionAnswer, ActionRequest, ActionTarget } from './action.ts';
import { deletionRule, isEndableSession } from './evidence.ts';
import type { HostPolicy } from './policy.ts';
import { readCommandLine, readProcess, readProcesses } from './process-table.ts';
import { endable, gone, isAlive, send, supervised } from './processes.ts';
import type { Sessions } from './sessions.ts';
import { deleteTemporary, measureTemporary } from './temporary-files.ts';

/** Milliseconds a process gets to end after SIGTERM, and a restarted one to come back. */
const END_MS = 5000;

interface Reach {
  readonly policy: HostPolicy;
  readonly sessions: Sessions | undefined;
  readonly signal?: AbortSignal;
}

/**
 * Why the policy forbids the action; undefined when it may go on. Limits and approval are checked elsewhere.
 */
export async function refusal(request: Pick<ActionRequest, 'action' | 'target'>, { policy, sessions }: Reach): Promise<string | undefined> {
  const { action, target } = request;
  if (!policy.actions.has(action)) return `the action ${action} is not allowed on this machine`;
  switch (target.kind) {
    case 'process': {
      const found = action === 'resumeProcess' || action === 'restartProcess' ? supervised(policy, target) : endable(policy, target);
      if (action !== 'terminateProcess' && action !== 'killProcess' && action !== 'resumeProcess' && action !== 'restartProcess') return `${action} is not for processes`;
      return typeof found === 'string' ? found : undefined;
    }
    case 'session': {
      if (action !== 'terminateBackend') return `${action} is not for PostgreSQL sessions`;
      if (sessions === undefined) return 'the agent watches no PostgreSQL';
      const root = (await sessions.rootBlockers()).find((blocker) => blocker.pid === target.pid && blocker.backendStart === target.backendStart);
      if (root === undefined) return `session ${target.pid} is not the root of a lock pile-up`;
      return isEndableSession(policy, root) ? undefined : `sessions of "${root.applicationName}" are not on the list of those that may be ended`;
    }
    case 'folder': {
      if (action !== 'deleteTemporaryFiles') return `${action} is not for folders`;
      if (policy.temporaryFolder === undefined) return 'no folder of temporary files is configured';
      const same = (await realpath(target.folder).catch(() => undefined)) === (await realpath(policy.temporaryFolder).catch(() => null));
      return same ? undefined : 'that is not the configured folder of temporary files';
    }
  }
}

/** Carries out an action that was neither refused nor done before. */
export async function act(request: Pick<ActionRequest, 'action' | 'target'>, reach: Reach): Promise<ActionAnswer> {
  const { target } = request;
  switch (target.kind) {
    case 'process':
      return actOnProcess(request.action, target, reach);
    case 'session': {
      const ended = await reach.sessions?.terminate(target);
      return ended === true ? { state: 'done', detail: `session ${target.pid} ended` } : { state: 'failed', detail: `session ${target.pid} did not end within ${END_MS / 1000} s` };
    }
    case 'folder': {
      const deleted = await deleteTemporary(target.folder, deletionRule(reach.policy), reach.signal);
      return { state: 'done', detail: `${deleted.files} files, ${deleted.bytes} bytes deleted` };
    }
  }
}

/**
 * Whether an action of which only the intent is on record has had its effect: read, never repeated.
 */
export async function reconcile(request: Pick<ActionRequest, 'action' | 'target'>, { policy, sessions }: Reach): Promise<ActionAnswer> {
  const { action, target } = request;
  const effective = await (async (): Promise<boolean> => {
    switch (target.kind) {
      case 'process':
        return action === 'resumeProcess' ? readProcess(target.pid)?.state !== 'T' : gone(target, END_MS);
      case 'session':
        return !(await sessions?.exists(target));
      case 'folder':
        return (await measureTemporary(target.folder, deletionRule(policy))).deletableFiles === 0;
    }
  })();
  return effective
    ? { state: 'done', detail: 'done by an attempt that was interrupted; found so by a read' }
    : { state: 'failed', detail: 'an attempt was interrupted and had no effect; not tried again' };
}

async function actOnProcess(action: HostAction, target: Extract<ActionTarget, { kind: 'process' }>, { signal }: Reach): Promise<ActionAnswer> {
  switch (action) {
    case 'terminateProcess':
      return end(target, 'SIGTERM', signal);
    case 'killProcess':
      return end(target, 'SIGKILL', signal);
    case 'resumeProcess':
      return resume(target);
    case 'restartProcess':
      return restart(target, signal);
    default:
      throw new RangeError(`${action} is not for processes`);
  }
}

async function end(target: Extract<ActionTarget, { kind: 'process' }>, kind: 'SIGTERM' | 'SIGKILL', signal?: AbortSignal): Promise<ActionAnswer> {
  if (!send(target, kind)) return { state: 'done', detail: `process ${target.pid} was gone already` };
  // A stopped process takes a SIGTERM only when it runs again.
  if (kind === 'SIGTERM' && readProcess(target.pid)?.state === 'T') send(target, 'SIGCONT');
  return (await gone(target, END_MS, signal)) ? { state: 'done', detail: `process ${target.pid} ended on ${kind}` } : { state: 'failed', detail: `process ${target.pid} still runs ${END_MS / 1000} s after ${kind}` };
}

async function resume(target: Extract<ActionTarget, { kind: 'process' }>): Promise<ActionAnswer> {
  if (!send(target, 'SIGCONT')) return { state: 'failed', detail: `process ${target.pid} is gone` };
  const deadline = Date.now() + 2000;
  while (Date.now() < deadline) {
    if (readProcess(target.pid)?.state !== 'T') return { state: 'done', detail: `process ${target.pid} runs again` };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { state: 'failed', detail: `process ${target.pid} is still stopped after SIGCONT` };
}

/** Ends a supervised process and waits for its supervisor to start another with the same command line. */
async function restart(target: Extract<ActionTarget, { kind: 'process' }>, signal?: AbortSignal): Promise<ActionAnswer> {
  const before = readProcess(target.pid);
  const command = readCommandLine(target.pid);
  if (before === undefined || command === '') return { state: 'failed', detail: `process ${target.pid} is gone` };
  const ended = await end(target, 'SIGTERM', signal);
  if (ended.state === 'failed') {
    send(target, 'SIGKILL');
    if (!(await gone(target, END_MS, signal))) return { state: 'failed', detail: `process ${target.pid} cannot be ended` };
  }
  const deadline = Date.now() + 2 * END_MS;
  while (Date.now() < deadline) {
    signal?.throwIfAborted();
    const successor = readProcesses().find((found) => found.pid !== target.pid && found.parentPid === before.parentPid && found.startTicks > before.startTicks && readCommandLine(found.pid) === command);
    if (successor !== undefined && isAlive(successor)) return { state: 'done', detail: `process ${target.pid} was replaced by ${successor.pid}` };
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { state: 'failed', detail: `process ${target.pid} ended and its supervisor started no other within ${(2 * END_MS) / 1000} s` };
}
