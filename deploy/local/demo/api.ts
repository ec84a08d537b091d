import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { parsePrometheus } from '../../../workers/host/prometheus-text.ts';
import type { NeuronDraft } from '../../../schemas/neurons/definition.ts';
import { receiptSchema, type Receipt, type Signal } from '../../../schemas/signals/signal.ts';
import { remediateResultSchema, type RemediateResult } from '../../../schemas/operations/remediate.ts';

const incidentSchema = z.object({
  id: z.string(),
  state: z.string(),
  cause: z.string().nullable(),
  subject: z.string().nullable(),
  /** Event time. */
  openedAt: z.iso.datetime(),
  members: z.array(z.unknown()),
});
export type Incident = z.infer<typeof incidentSchema>;

const decisionSchema = z
  .object({
    id: z.string(),
    summary: z.string(),
    reason: z.string(),
    runId: z.string().nullable(),
    createdAt: z.iso.datetime(),
    effect: z.object({ operation: z.object({ type: z.string(), input: z.unknown() }).nullable() }).nullable(),
  })
  .transform(({ effect, ...rest }) => {
    // Which incident a remedy is for stands in the input of its operation.
    const aim = z.object({ incidentId: z.string(), cause: z.string() }).safeParse(effect?.operation?.input);
    return { ...rest, incidentId: aim.data?.incidentId ?? null, cause: aim.data?.cause ?? null };
  });
export type Decision = z.infer<typeof decisionSchema>;

const outcomeSchema = z.object({ status: z.string(), result: z.unknown().optional() });
const signalStateSchema = z.object({ state: z.enum(['pending', 'decided', 'failed']) });

/** Items of a page. */
const PAGE = 200;
/** Milliseconds a request may take. */
const ANSWER_MS = 20_000;
/** Tries of a request that may be repeated. */
const TRIES = 6;

/** HAL9's API as the demo uses it: from outside, over HTTP. */
export class DemoApi {
  readonly #url: string;
  readonly #key: string;
  readonly #signal: AbortSignal;

  constructor(url: string, key: string, signal: AbortSignal) {
    this.#url = url;
    this.#key = key;
    this.#signal = signal;
  }

  async createNeuron(draft: NeuronDraft): Promise<void> {
    await this.#ask('/v1/neurons', { method: 'POST', body: JSON.stringify(draft), type: 'application/json' }, [201, 409]);
  }

  /** Sends signals as NDJSON; repeating is safe, for their ids are kept. */
  async send(signals: readonly Signal[]): Promise<Receipt> {
    const body = `${signals.map((signal) => JSON.stringify(signal)).join('\n')}\n`;
    return receiptSchema.parse(await this.#ask('/v1/signals', { method: 'POST', body, type: 'application/x-ndjson' }, [200, 202]));
  }

  async signalState(id: string): Promise<'pending' | 'decided' | 'failed'> {
    return signalStateSchema.parse(await this.#ask(`/v1/signals/${id}`)).state;
  }

  /** The latest 500 incidents. */
  async incidents(): Promise<Incident[]> {
    return z.object({ items: z.array(incidentSchema) }).parse(await this.#ask('/v1/incidents?limit=500')).items;
  }

  /** Every decision, newest first. */
  async decisions(): Promise<Decision[]> {
    return this.#pages('/v1/decisions', decisionSchema);
  }

  /** How many runs of an operation there are. */
  async countRuns(operation: string): Promise<number> {
    return (await this.#pages(`/v1/runs?type=${operation}`, z.object({ runId: z.string() }))).length;
  }

  /** Signals this API accepted since it started. */
  async countSignals(): Promise<number> {
    const answer = await fetch(`${this.#url}/metrics`, { signal: AbortSignal.any([this.#signal, AbortSignal.timeout(ANSWER_MS)]) });
    return parsePrometheus(await answer.text(), (name) => name === 'hal9_signals_accepted_total').reduce((sum, sample) => sum + sample.value, 0);
  }

  /** The result of a `remediate` run; undefined while it is open or when it failed. */
  async remedy(runId: string): Promise<RemediateResult | undefined> {
    const outcome = outcomeSchema.parse(await this.#ask(`/v1/runs/${encodeURIComponent(runId)}/result`, undefined, [200, 202]));
    return outcome.status === 'completed' ? remediateResultSchema.parse(outcome.result) : undefined;
  }

  async #pages<Item extends z.ZodType>(path: string, item: Item): Promise<z.output<Item>[]> {
    const page = z.object({ items: z.array(item), nextCursor: z.string().nullable().default(null) });
    const found: z.output<Item>[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const query: string = `${path}${path.includes('?') ? '&' : '?'}limit=${PAGE}${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`;
      const answer: { items: z.output<Item>[]; nextCursor: string | null } = page.parse(await this.#ask(query));
      found.push(...answer.items);
      cursor = answer.nextCursor;
    }
    return found;
  }

  async #ask(path: string, request?: { method: string; body: string; type: string }, expected: readonly number[] = [200]): Promise<unknown> {
    for (let attempt = 1; ; attempt += 1) {
      this.#signal.throwIfAborted();
      const answer = await fetch(`${this.#url}${path}`, {
        method: request?.method ?? 'GET',
        headers: { authorization: `Bearer ${this.#key}`, ...(request === undefined ? {} : { 'content-type': request.type }) },
        ...(request === undefined ? {} : { body: request.body }),
        signal: AbortSignal.any([this.#signal, AbortSignal.timeout(ANSWER_MS)]),
      }).catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
      if (!(answer instanceof Error) && expected.includes(answer.status)) return answer.json();
      const passing = answer instanceof Error || answer.status === 429 || answer.status >= 500;
      if (!passing || attempt >= TRIES) throw new Error(`${request?.method ?? 'GET'} ${path} failed: ${answer instanceof Error ? answer.message : `${answer.status} ${(await answer.text()).slice(0, 500)}`}`);
      await sleep(250 * 2 ** attempt, undefined, { signal: this.#signal });
    }
  }
}
