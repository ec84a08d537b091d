import { defineQuery, proxyActivities, setHandler } from '@temporalio/workflow';
import { RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import type { ComplianceEvidenceInput, ComplianceEvidenceResult } from '../../schemas/operations/compliance-evidence.ts';
import type { ComplianceActivities } from '../../activities/compliance/index.ts';

const { controlsToShow, collectEvidence } = proxyActivities<ComplianceActivities>({ startToCloseTimeout: '2 minutes', retry: { maximumInterval: '1 minute' } });

/** Each control in turn: ask, keep. What the run kept stays whatever becomes of it. */
export async function complianceEvidence(input: ComplianceEvidenceInput): Promise<ComplianceEvidenceResult> {
  const at = new Date().toISOString();
  const findings: ComplianceEvidenceResult['findings'] = [];
  let [done, total] = [0, 1];
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => ({ step: 'collecting', done, total, message: `${findings.length} did not pass` }));
  const controls = await controlsToShow(input.controls);
  total = controls.length;
  for (const control of controls) {
    const { result, numbers } = await collectEvidence(control, at);
    if (result !== 'passed') findings.push({ control, result, numbers });
    done += 1;
  }
  return { at, passed: done - findings.length, failed: findings.length, findings };
}
