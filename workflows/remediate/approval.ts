import { condition, defineUpdate, setHandler } from '@temporalio/workflow';
import { APPROVAL_UPDATE } from '../../schemas/names/messages.ts';

export interface ApprovalAnswer {
  readonly approved: boolean;
  readonly reason?: string;
}

/** Waits up to a day for a person's answer to the proposed action. */
export async function approvalOf(_input: { incidentId: string }, _proposal: string): Promise<{ approved: boolean; reason: string }> {
  const given: { answer?: ApprovalAnswer } = {};
  setHandler(
    defineUpdate<void, [ApprovalAnswer]>(APPROVAL_UPDATE),
    (answer) => {
      given.answer = answer;
    },
    {
      validator: (answer) => {
        if (typeof answer?.approved !== 'boolean') throw new Error('the answer needs `approved`: true or false');
        if (given.answer !== undefined) throw new Error('the action is decided already');
      },
    },
  );
  await condition(() => given.answer !== undefined, '1 day');
  if (given.answer === undefined) return { approved: false, reason: 'nobody approved it within a day' };
  return { approved: given.answer.approved, reason: given.answer.reason ?? (given.answer.approved ? 'approved' : 'denied') };
}
