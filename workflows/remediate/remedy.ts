import { CAUSES, type Cause, type HostAction } from '../../schemas/names/remedies.ts';
import type { ActionTarget } from '../../activities/host/action.ts';
import type { Evidence, ProcessEvidence, SessionEvidence } from '../../activities/host/evidence.ts';
import type { Symptom } from '../../activities/host/symptom.ts';

/** A process counts as a hog from a quarter of a core, or from two hundredths of the machine's memory. */
const HOG_CORES = 0.25;
const HOG_MEMORY_SHARE = 0.02;
/** Seconds a lock wait must last before its root is blamed. */
const LONG_WAIT_SECONDS = 1;

export interface RemedyStep {
  readonly action: HostAction;
  readonly target: ActionTarget;
  /** Only makes way for the next step: whatever comes of it, that one follows at once. */
  readonly prepares?: true;
}

/** What the evidence shows of one cause, and the actions against it, mildest first. */
export interface Remedy {
  readonly cause: Cause;
  readonly symptom: Symptom;
  readonly steps: readonly RemedyStep[];
  /** One line: who is blamed and why. */
  readonly finding: string;
}

/** A process that the signals blamed. */
export interface Suspect {
  readonly pid: number;
  readonly startTicks?: number | undefined;
}

/**
 * The remedy for a cause, when the evidence shows it. Among several suspects the one that the signals named comes first, then those
 * that the policy lets the agent touch, then the worst.
 * @returns undefined when the machine shows nothing of that cause.
 */
export function remedyFor(cause: string, evidence: Evidence, suspect?: Suspect): Remedy | undefined {
  switch (cause) {
    case CAUSES.cpuHog:
      return hog(CAUSES.cpuHog, evidence, suspect, (found) => found.cores, HOG_CORES, (value) => `asks for ${value.toFixed(2)} cores`);
    case CAUSES.memoryHog:
      return hog(CAUSES.memoryHog, evidence, suspect, (found) => found.memoryBytes, HOG_MEMORY_SHARE * evidence.memory.totalBytes, (value) => `holds ${megabytes(value)}`);
    case CAUSES.diskFilling:
      return diskFilling(evidence);
    case CAUSES.lockPileUp:
      return lockPileUp(evidence);
    case CAUSES.workerStopped:
      return workerStopped(evidence, suspect);
    default:
      return undefined;
  }
}

/**
 * The remedy for what the machine shows: for the named cause if it is there, else for the only other one that is. Two others at once
 * are for people to judge.
 */
export function confirmedRemedy(cause: string, evidence: Evidence, suspect?: Suspect): Remedy | undefined {
  const named = remedyFor(cause, evidence, suspect);
  if (named !== undefined) return named;
  const others = Object.values(CAUSES).flatMap((other) => (other === cause ? [] : (remedyFor(other, evidence, suspect) ?? [])));
  const touchable = others.filter((other) => other.steps.length > 0 && isTouchable(other, evidence));
  return touchable.length === 1 ? touchable[0] : undefined;
}

/** Whether `cause` is one that has remedies at all. */
export function isKnownCause(cause: string): cause is Cause {
  return Object.values<string>(CAUSES).includes(cause);
}

function hog(cause: Cause, evidence: Evidence, suspect: Suspect | undefined, weigh: (found: ProcessEvidence) => number, least: number, words: (value: number) => string): Remedy | undefined {
  const hogs = evidence.processes.filter((found) => weigh(found) >= least);
  const worst = ranked(hogs, suspect, 'endable', weigh)[0];
  if (worst === undefined) return undefined;
  const target = processTarget(worst);
  const named = hogs.filter((found) => found.name === worst.name && found.role === 'endable');
  return {
    cause,
    symptom: { cause, processName: worst.name, before: named.reduce((sum, found) => sum + weigh(found), 0) },
    steps: [{ action: 'terminateProcess', target }, { action: 'killProcess', target }],
    finding: `process ${worst.name} (${worst.pid}) ${words(weigh(worst))}`,
  };
}

function diskFilling(evidence: Evidence): Remedy | undefined {
  const usage = evidence.temporary;
  if (usage === null || usage.deletableBytes === 0) return undefined;
  const clear: RemedyStep = { action: 'deleteTemporaryFiles', target: { kind: 'folder', folder: usage.folder } };
  // Whoever still writes would fill it again: stop that first, where the policy allows it.
  const writers = usage.writers.filter((writer) => writer.role === 'endable').slice(0, 1);
  return {
    cause: CAUSES.diskFilling,
    symptom: { cause: CAUSES.diskFilling, processName: null, before: usage.bytes },
    steps: [...writers.map((writer): RemedyStep => ({ action: 'terminateProcess', target: processTarget(writer), prepares: true })), clear],
    finding: `${usage.deletableFiles} temporary files hold ${megabytes(usage.deletableBytes)}${writers.map((writer) => `, written by ${writer.name} (${writer.pid})`).join('')}`,
  };
}

function lockPileUp(evidence: Evidence): Remedy | undefined {
  const roots = (evidence.sessions ?? []).filter((session) => session.longestWaitSeconds >= LONG_WAIT_SECONDS);
  const worst = roots.toSorted((a, b) => Number(b.endable) - Number(a.endable) || b.waiting - a.waiting)[0];
  if (worst === undefined) return undefined;
  return {
    cause: CAUSES.lockPileUp,
    symptom: { cause: CAUSES.lockPileUp, processName: null, before: worst.waiting },
    steps: [{ action: 'terminateBackend', target: sessionTarget(worst) }],
    finding: `session ${worst.pid} (${worst.state}) keeps ${worst.waiting} others waiting, for ${worst.longestWaitSeconds.toFixed(1)} s`,
  };
}

function workerStopped(evidence: Evidence, suspect: Suspect | undefined): Remedy | undefined {
  const stopped = evidence.processes.filter((found) => found.state === 'T');
  const first = ranked(stopped, suspect, 'supervised', () => 0)[0];
  if (first === undefined) return undefined;
  const target = processTarget(first);
  return {
    cause: CAUSES.workerStopped,
    symptom: { cause: CAUSES.workerStopped, processName: null, before: stopped.length },
    steps: [{ action: 'resumeProcess', target }, { action: 'restartProcess', target }],
    finding: `process ${first.name} (${first.pid}) is stopped`,
  };
}

function isTouchable(remedy: Remedy, evidence: Evidence): boolean {
  const target = remedy.steps[0]?.target;
  if (target?.kind === 'process') return evidence.processes.some((found) => found.pid === target.pid && (found.role === 'endable' || found.role === 'supervised'));
  if (target?.kind === 'session') return (evidence.sessions ?? []).some((found) => found.pid === target.pid && found.endable);
  return target !== undefined;
}

function ranked(found: readonly ProcessEvidence[], suspect: Suspect | undefined, role: ProcessEvidence['role'], weigh: (found: ProcessEvidence) => number): ProcessEvidence[] {
  const isSuspect = (candidate: ProcessEvidence): boolean => candidate.pid === suspect?.pid && (suspect.startTicks === undefined || suspect.startTicks === candidate.startTicks);
  // A suspect that may not be touched is worth naming only when nobody else explains the symptom.
  const rank = (candidate: ProcessEvidence): number => (candidate.role === role ? 2 : 0) + (isSuspect(candidate) ? 1 : 0);
  return found.toSorted((a, b) => rank(b) - rank(a) || weigh(b) - weigh(a));
}

function processTarget({ pid, startTicks, name }: ProcessEvidence): ActionTarget {
  return { kind: 'process', pid, startTicks, name };
}

function sessionTarget({ pid, backendStart, applicationName }: SessionEvidence): ActionTarget {
  return { kind: 'session', pid, backendStart, applicationName };
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_000_000)} MB`;
}
