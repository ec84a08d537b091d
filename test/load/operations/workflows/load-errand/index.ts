import { condition, defineSignal, setHandler } from '@temporalio/workflow';
import type { ErrandInput } from '../../schemas/operations/load-errand.ts';

const go = defineSignal<[{ by: string }]>('go');

export async function loadErrand(input: ErrandInput): Promise<{ told: boolean }> {
  let told = false;
  setHandler(go, () => {
    told = true;
  });
  await condition(() => told, input.seconds * 1000);
  return { told };
}
