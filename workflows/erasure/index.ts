import { ActivityFailure, allHandlersFinished, CancellationScope, condition, defineQuery, defineSignal, isCancellation, log, patched, proxyActivities, setHandler, sleep } from '@temporalio/workflow';
import type { ErasureActivities, ErasureTerms } from '../../activities/privacy/activity-contract.ts';
import { ERASURE_RECHECK_SIGNAL, RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import type { ErasureInput, ErasureResult } from '../../schemas/operations/erasure.ts';
import { awaitApproval } from '../approval/await-approval.ts';

const DAY_MS = 86_400_000;
/** How long people have to agree, seconds: as long as the longest deadline. */
const APPROVAL_SECONDS = 365 * 86_400;
/** What stands in the way may be a matter of minutes, or of people. */
const SOON = '10 minutes';
const LATER = '1 day';
/**
 * A system that goes on working writes while it is erased: progress of a run that was just closed, an order that was on its way. Another pass
 * takes that, too; waits before each, milliseconds.
 */
const PASSES_MS = [1_000, 5_000] as const;

const { openErasure, noteErasure, finishErasure, remindOfErasure } = proxyActivities<ErasureActivities>({ startToCloseTimeout: '1 minute', retry: { maximumInterval: '1 minute' } });
// The audit log vouches for the end within seconds; without a signer it cannot, and waits.
const { issueReceipt } = proxyActivities<ErasureActivities>({ startToCloseTimeout: '1 minute', retry: { initialInterval: '1 second', backoffCoefficient: 1.5, maximumInterval: '1 minute' } });
// A source that is away is written down as a reason; patience is the run's, not the activity's.
const { planErasure, eraseSource, verifyErasure } = proxyActivities<ErasureActivities>({ startToCloseTimeout: '6 hours', heartbeatTimeout: '20 seconds', retry: { maximumAttempts: 5, maximumInterval: '20 seconds' } });

/** What a query sees. */
interface Stage {
  step: 'planning' | 'approval' | 'erasing' | 'verifying' | 'blocked' | 'receipt' | 'done';
  done: number;
  total: number | null;
  reasons: readonly string[];
}

/** Plan, agreement, erasure, another look; again until nothing is left that nothing allows. */
export async function erasure({ erasureId }: ErasureInput): Promise<ErasureResult> {
  const stage: Stage = { step: 'planning', done: 0, total: null, reasons: [] };
  let asked = 0;
  setHandler(defineSignal(ERASURE_RECHECK_SIGNAL), () => {
    asked += 1;
  });
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => ({ step: stage.step, done: stage.done, total: stage.total, message: stage.reasons.join('; ') }));
  const terms = await openErasure(erasureId);
  if (terms.ended === 'denied') return { erasureId, state: 'denied', rows: 0, reason: 'people did not agree' };
  if (terms.ended === 'complete') return vouchedFor(erasureId, stage);
  const clock = new CancellationScope();
  const reminded = clock.run(() => keepTime(erasureId, terms)).catch((error: unknown) => {
    if (!isCancellation(error)) throw error;
  });
  try {
    let agreed = terms.approvals === 0;
    let passes = 0;
    for (;;) {
      const seen = asked;
      stage.step = 'planning';
      const plan = await planErasure(erasureId).catch(asReason);
      if ('reasons' in plan && plan.reasons.length === 0 && !agreed) {
        stage.step = 'approval';
        await noteErasure(erasureId, 'waiting', []);
        const answer = await awaitApproval({
          summary: `Forget a person: ${plan.rows} rows in ${plan.sources.length} sources`,
          reason: `Erasure ${erasureId}. ${plan.summary}`,
          approval: { permission: 'privacy:erase', required: terms.approvals, deadlineSeconds: APPROVAL_SECONDS },
          connection: terms.connection ?? undefined,
        });
        if (answer.state !== 'approved') {
          const ended = await finishErasure(erasureId, 'denied', [answer.reason]);
          return { erasureId, state: 'denied', rows: ended.rows, reason: answer.reason };
        }
        agreed = true;
      }
      const { reasons, foundAgain } = plan.reasons.length > 0 ? { reasons: plan.reasons, foundAgain: false } : await carryOut(erasureId, [plan.sources, plan.last ?? []], stage);
      if (reasons.length === 0) break;
      const restMs = foundAgain ? PASSES_MS[passes] : undefined;
      if (restMs !== undefined && patched('erasure-another-pass')) {
        passes += 1;
        await sleep(restMs);
        continue;
      }
      passes = 0;
      stage.step = 'blocked';
      stage.reasons = reasons;
      await noteErasure(erasureId, 'blocked', reasons);
      log.info('an erasure cannot be completed yet', { erasureId, reasons: reasons.length });
      await condition(() => asked > seen, plan.passing || reasons.some((reason) => reason.endsWith(PASSING)) ? SOON : LATER);
      stage.reasons = [];
    }
    return await vouchedFor(erasureId, stage);
  } finally {
    clock.cancel();
    await reminded;
    await condition(allHandlersFinished);
  }
}

/** The end, and its receipt once the audit log vouches for it. */
async function vouchedFor(erasureId: string, stage: Stage): Promise<ErasureResult> {
  stage.step = 'receipt';
  const { rows } = await finishErasure(erasureId, 'complete', []);
  await issueReceipt(erasureId);
  stage.step = 'done';
  return { erasureId, state: 'complete', rows, reason: 'nothing was found when looking again, but for what is kept' };
}

/** Ends reasons that may be gone in minutes. */
const PASSING = '(tried again by itself)';

interface PlanOrReason {
  readonly reasons: readonly string[];
  readonly sources: readonly string[];
  readonly last?: readonly string[];
  readonly rows: number;
  readonly summary: string;
  /** Whether it may be gone in minutes. */
  readonly passing: boolean;
}

function asReason(error: unknown): PlanOrReason {
  return { reasons: [reasonOf(error)], sources: [], rows: 0, summary: '', passing: true };
}

interface Outcome {
  /** What stands in the way; nothing when nothing is left. */
  readonly reasons: readonly string[];
  /** Whether everything was carried out, and looking again found the person nevertheless. */
  readonly foundAgain: boolean;
}

/** Sources of one turn do not depend on each other. */
async function carryOut(erasureId: string, turns: readonly (readonly string[])[], stage: Stage): Promise<Outcome> {
  stage.step = 'erasing';
  [stage.done, stage.total] = [0, turns.flat().length];
  await noteErasure(erasureId, 'erasing', []);
  for (const sources of turns) {
    const failed = await Promise.all(
      sources.map(async (source) => {
        try {
          await eraseSource(erasureId, source);
          stage.done += 1;
          return [];
        } catch (error) {
          return [reasonOf(error)];
        }
      }),
    );
    if (failed.flat().length > 0) return { reasons: failed.flat(), foundAgain: false };
  }
  stage.step = 'verifying';
  try {
    const left = await verifyErasure(erasureId);
    return { reasons: left, foundAgain: left.length > 0 };
  } catch (error) {
    return { reasons: [reasonOf(error)], foundAgain: false };
  }
}

/** What an activity said when it gave up; a cancelled run stays cancelled. */
function reasonOf(error: unknown): string {
  if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
  return `${error.cause?.message ?? error.message} ${PASSING}`;
}

/** Reminds people before the deadline, and every day after it. */
async function keepTime(erasureId: string, { dueAtMs, remindDays }: ErasureTerms): Promise<void> {
  for (const days of remindDays.toSorted((a, b) => b - a)) {
    const at = dueAtMs - days * DAY_MS;
    if (at <= Date.now()) continue;
    await sleep(at - Date.now());
    await remindOfErasure(erasureId, days);
  }
  if (dueAtMs > Date.now()) await sleep(dueAtMs - Date.now());
  for (let late = 0; ; late += 1) {
    await remindOfErasure(erasureId, -late);
    await sleep(DAY_MS);
  }
}
