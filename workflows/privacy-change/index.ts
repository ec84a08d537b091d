import { ActivityFailure, condition, defineQuery, defineSignal, isCancellation, log, proxyActivities, setHandler } from '@temporalio/workflow';
import type { PrivacyChangeActivities, PrivacyChangePlan } from '../../activities/privacy-change/activity-contract.ts';
import { PRIVACY_CHANGE_RECHECK_SIGNAL, RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import type { PrivacyChangeInput, PrivacyChangeResult } from '../../schemas/operations/privacy-change.ts';

/** What stands in the way may be a matter of minutes, or of people. */
const SOON = '10 minutes';
const LATER = '1 day';
/** Ends reasons that may be gone in minutes. */
const PASSING = '(tried again by itself)';

const { notePrivacyChange, finishPrivacyChange } = proxyActivities<PrivacyChangeActivities>({ startToCloseTimeout: '1 minute', retry: { maximumInterval: '1 minute' } });
// A source that is away is written down as a reason; patience is the run's, not the activity's.
const { planPrivacyChange, changeSource, verifyPrivacyChange } = proxyActivities<PrivacyChangeActivities>({ startToCloseTimeout: '6 hours', heartbeatTimeout: '20 seconds', retry: { maximumAttempts: 5, maximumInterval: '20 seconds' } });

/** Plan, change, another look; again until everything holds what it should. */
export async function privacyChange({ changeId }: PrivacyChangeInput): Promise<PrivacyChangeResult> {
  let asked = 0;
  let progress: Progress = { step: 'planning', done: 0, total: null, message: '' };
  setHandler(defineSignal(PRIVACY_CHANGE_RECHECK_SIGNAL), () => {
    asked += 1;
  });
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => progress);
  for (;;) {
    const seen = asked;
    progress = { step: 'planning', done: 0, total: null, message: '' };
    const plan = await planPrivacyChange(changeId).catch(asPlan);
    if (plan.ended !== undefined) return { changeId, state: plan.ended, rows: 0 };
    const reasons = plan.reasons.length > 0 ? plan.reasons : await carryOut(changeId, plan.sources, (step, done) => (progress = { step, done, total: plan.sources.length, message: '' }));
    if (reasons.length === 0) break;
    progress = { step: 'blocked', done: 0, total: null, message: reasons.join('; ') };
    await notePrivacyChange(changeId, reasons);
    log.info('a change of data cannot be completed yet', { changeId, reasons: reasons.length });
    await condition(() => asked > seen, plan.passing || reasons.some((reason) => reason.endsWith(PASSING)) ? SOON : LATER);
  }
  const { rows } = await finishPrivacyChange(changeId);
  progress = { step: 'done', done: rows, total: rows, message: '' };
  return { changeId, state: 'complete', rows };
}

/** Sources do not depend on each other. @returns what stands in the way; nothing when everything holds what it should. */
async function carryOut(changeId: string, sources: readonly string[], tell: (step: string, done: number) => void): Promise<readonly string[]> {
  let done = 0;
  tell('changing', done);
  const failed = await Promise.all(
    sources.map(async (source) => {
      try {
        await changeSource(changeId, source);
        tell('changing', (done += 1));
        return [];
      } catch (error) {
        return [reasonOf(error)];
      }
    }),
  );
  if (failed.flat().length > 0) return failed.flat();
  tell('verifying', done);
  try {
    return await verifyPrivacyChange(changeId);
  } catch (error) {
    return [reasonOf(error)];
  }
}

function asPlan(error: unknown): PrivacyChangePlan {
  return { reasons: [reasonOf(error)], sources: [], passing: true };
}

/** What an activity said when it gave up; a cancelled run stays cancelled. */
function reasonOf(error: unknown): string {
  if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
  const said = error.cause?.message ?? error.message;
  return error.retryState === 'NON_RETRYABLE_FAILURE' ? said : `${said} ${PASSING}`;
}
