import type { KeyRing } from '../keys/key-ring.ts';

/** An answer that HAL9 has checked the giver of, on its way to the waiting run. */
export interface CheckedAnswer {
  readonly orgId: string;
  readonly approvalId: string;
  readonly approved: boolean;
  readonly approver: { readonly kind: 'api-key' | 'user' | 'service' | 'system' | 'link'; readonly id: string };
  readonly permission: string;
}

const PURPOSE = 'approval-answer';
/** Time an answer has to reach its run. */
const PROOF_MS = 10 * 60 * 1000;

/** Signs an answer. Only HAL9's API and workers hold the key: `runs:write` alone cannot invent approvers. */
export function proveAnswer(keys: KeyRing, answer: CheckedAnswer): string {
  return keys.sign(PURPOSE, text(answer), new Date(Date.now() + PROOF_MS));
}

/** @throws {KeyError} when the proof is not for exactly this answer, or too old. */
export function isProven(keys: KeyRing, answer: CheckedAnswer, proof: string): boolean {
  return keys.verify(PURPOSE, proof) === text(answer);
}

function text({ orgId, approvalId, approved, approver, permission }: CheckedAnswer): string {
  return JSON.stringify([orgId, approvalId, approved, approver.kind, approver.id, permission]);
}
