import type { RunEvent } from '../../database/run-events.ts';
import type { TraceNode } from '../../schemas/rest/traces.ts';
import { traceNodeOf } from './node.ts';

/** Most steps of one run in a trace. */
export const MOST_STEPS = 50;

interface Step {
  readonly seq: number;
  readonly title: string;
  readonly at: Date;
  endedAt: Date | null;
  state: string;
  failure: string | null;
}

/** What a run reported of itself, folded: a step lasts until the next one is reported, a pause until the run goes on. */
export function stepsOf(runId: string, events: readonly RunEvent[]): TraceNode[] {
  const steps: Step[] = [];
  let open: Step | undefined;
  let paused: Step | undefined;
  const begin = ({ seq, at }: RunEvent, title: string): Step => {
    const step: Step = { seq, title, at, endedAt: null, state: 'running', failure: null };
    steps.push(step);
    return step;
  };
  const end = (step: Step | undefined, at: Date, state: string, failure: string | null = null): void => {
    if (step?.endedAt === null) Object.assign(step, { endedAt: at, state, failure });
  };
  for (const event of events) {
    const { type, at, data } = event;
    switch (type) {
      case 'progress': {
        const name = textOf(data['step']) ?? 'working';
        if (open?.endedAt === null && open.title === name) break;
        end(open, at, 'completed');
        open = begin(event, name);
        break;
      }
      case 'paused':
        paused = begin(event, 'paused');
        break;
      case 'resumed':
        end(paused, at, 'completed');
        break;
      case 'replayed':
        end(open, at, 'completed');
        end(begin(event, 'replayed'), at, 'completed');
        break;
      case 'closed':
        end(paused, at, 'completed');
        end(open, at, textOf(data['status']) ?? 'completed', textOf(data['failure']) ?? null);
        break;
      case 'started':
      case 'retried':
        break;
    }
  }
  return steps.map(({ seq, ...step }) => traceNodeOf({ kind: 'step', id: `${runId}#${String(seq)}`, ...step }));
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
