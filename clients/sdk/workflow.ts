import { defineQuery, setHandler } from '@temporalio/workflow';
import { RESERVED_QUERIES, RESERVED_UPDATES, type Progress } from '../../schemas/names/messages.ts';

export { awaitApproval, type ApprovalOutcome, type ApprovalRequest } from '../../workflows/approval/await-approval.ts';
export type { Progress } from '../../schemas/names/messages.ts';
/** Updates that every run understands without doing anything for it: it stops before its next step, and goes on. */
export const { pause: PAUSE_UPDATE, resume: RESUME_UPDATE } = RESERVED_UPDATES;

/**
 * Lets people watch the run: what is set here is what `hal9 watch`, the stream and the console show. Call it once, before the first await.
 * @returns changes what is shown. No personal data in it: it is kept in the open beside the run.
 */
export function reportProgress(first: Progress): (change: Partial<Progress>) => void {
  let progress = first;
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => progress);
  return (change) => {
    progress = { ...progress, ...change };
  };
}
