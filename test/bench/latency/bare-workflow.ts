import { allHandlersFinished, condition, defineUpdate, proxyLocalActivities, setHandler } from '@temporalio/workflow';

const { decide } = proxyLocalActivities<{ decide: (value: string) => Promise<string> }>({ startToCloseTimeout: '30 seconds' });

/** What a cascade with a waiting caller is to Temporal and no more: one local activity, whose result answers an update. */
export async function bare(value: string): Promise<string> {
  const outcome: { answer?: string } = {};
  setHandler(defineUpdate<string>('answer'), async () => {
    await condition(() => outcome.answer !== undefined);
    return outcome.answer ?? '';
  });
  outcome.answer = await decide(value);
  await condition(allHandlersFinished);
  return outcome.answer;
}
