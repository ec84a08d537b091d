import type { FieldError } from '../../schemas/errors.ts';
import { HalError } from '../../schemas/errors.ts';
import type { Receipt } from '../../schemas/signals/signal.ts';
import type { SignalRow } from '../../database/signals.ts';
import type { Caller } from '../identity/caller.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import { subjectHash } from '../privacy/identities.ts';
import type { Admission } from '../usage/quota-gate.ts';
import type { IngestRequest, SignalIngest } from './ingest.ts';
import { uuidText } from './key.ts';
import { LaneChooser } from './lane.ts';
import { LineCutter } from './lines.ts';
import type { IngestMetrics } from './metrics.ts';
import { prepareText, prepareValue, type PrepareContext, type Prepared } from './prepare.ts';

/** Ids and refusals a receipt names; counts go on beyond. */
const NAMED = 1000;
/** Longest line of NDJSON, bytes. */
export const MAX_LINE_BYTES = 1024 * 1024;

export interface ReceiverOptions {
  readonly ingest: SignalIngest;
  readonly metrics: IngestMetrics;
  /** Lanes of an organisation (`HAL9_LANES`). */
  readonly lanes: number;
  /** Hashes whom signals are about. */
  readonly keys: KeyRing;
  /** Asked before signals are taken in; default: none is refused. */
  readonly admission?: Admission;
}

/** Takes in what senders send, in each of its forms, and answers with the receipt. */
export class SignalReceiver {
  readonly #ingest: SignalIngest;
  readonly #metrics: IngestMetrics;
  readonly #lanes: LaneChooser;
  readonly #keys: KeyRing;
  readonly #admission: Admission | undefined;

  constructor(options: ReceiverOptions) {
    this.#ingest = options.ingest;
    this.#metrics = options.metrics;
    this.#lanes = new LaneChooser(options.lanes);
    this.#keys = options.keys;
    this.#admission = options.admission;
  }

  /**
   * Asks whether so many more signals may come in; a promise when that must be read first.
   * @throws {HalError} QuotaExceeded.
   */
  admit(caller: Caller, signals: number): Promise<void> | undefined {
    return this.#admission?.admit(caller.orgId, 'signals', signals);
  }

  /**
   * Checks one signal.
   * @throws {HalError} InvalidInput with every field that is wrong.
   */
  prepareOne(caller: Caller, value: unknown, options: { defaultSpecversion: boolean }): SignalRow {
    const prepared = prepareValue(value, this.#context(caller, options.defaultSpecversion));
    if (prepared.row !== undefined) return prepared.row;
    this.#metrics.rejected.inc();
    throw new HalError('InvalidInput', 'the signal does not match the schema', { errors: prepared.errors });
  }

  /** Commits one signal. */
  async one(caller: Caller, value: unknown, options: { defaultSpecversion: boolean }): Promise<Receipt> {
    const row = this.prepareOne(caller, value, options);
    await this.admit(caller, 1);
    const outcome = await this.#ingest.accept(caller.orgId, caller.traceparent, [row]);
    return { ...outcome, ids: [uuidText(row.key)], rejected: [], rejectedCount: 0 };
  }

  /** Commits the elements of a JSON batch that are signals. */
  async batch(caller: Caller, values: readonly unknown[], options: { defaultSpecversion: boolean }): Promise<Receipt> {
    const draft = new ReceiptDraft();
    const request = this.#ingest.begin(caller.orgId, caller.traceparent);
    const context = this.#context(caller, options.defaultSpecversion);
    const rows: SignalRow[] = [];
    for (const [index, value] of values.entries()) collect(index + 1, prepareValue(value, context), draft, rows);
    await this.#add(caller, request, rows);
    return this.#receipt(draft, request);
  }

  /**
   * Commits a stream of lines while it arrives. The stream is read no faster than the database commits.
   * @throws {HalError} DependencyUnavailable when the database stays away; the detail says how many signals are in.
   */
  async stream(caller: Caller, body: AsyncIterable<Buffer>): Promise<Receipt> {
    const draft = new ReceiptDraft();
    const request = this.#ingest.begin(caller.orgId, caller.traceparent);
    const cutter = new LineCutter({ maxLineBytes: MAX_LINE_BYTES });
    for await (const chunk of body) await this.#add(caller, request, this.#rows(caller, cutter.push(chunk), draft));
    await this.#add(caller, request, this.#rows(caller, cutter.end(), draft));
    return this.#receipt(draft, request);
  }

  /** @throws {HalError} QuotaExceeded, saying how many signals of the request are in, once they are. */
  async #add(caller: Caller, request: IngestRequest, rows: readonly SignalRow[]): Promise<void> {
    try {
      const admitted = this.admit(caller, rows.length);
      if (admitted !== undefined) await admitted;
    } catch (error) {
      const { accepted } = await request.finish();
      if (accepted === 0 || !(error instanceof HalError)) throw error;
      throw new HalError(error.type, `${error.message}; ${accepted} signals of this request are committed and count as duplicates when it is sent again`, { cause: error });
    }
    await request.add(rows);
  }

  #rows(caller: Caller, lines: ReturnType<LineCutter['push']>, draft: ReceiptDraft): SignalRow[] {
    const context = this.#context(caller, true);
    const rows: SignalRow[] = [];
    for (const line of lines) {
      if (line.problem === undefined) collect(line.number, prepareText(line.text, context), draft, rows);
      else draft.reject(line.number, [{ path: '', message: line.problem }]);
    }
    return rows;
  }

  #context(caller: Caller, defaultSpecversion: boolean): PrepareContext {
    return { orgId: caller.orgId, lanes: this.#lanes, receivedAt: new Date().toISOString(), defaultSpecversion, subjectHash: (text) => subjectHash(this.#keys, caller.orgId, text) };
  }

  async #receipt(draft: ReceiptDraft, request: IngestRequest): Promise<Receipt> {
    this.#metrics.rejected.inc(draft.rejectedCount);
    const outcome = await request.finish();
    if (draft.rejectedCount > 0 && outcome.accepted + outcome.duplicates === 0) {
      const errors = draft.rejected.flatMap(({ line, errors: fields }) => fields.map(({ path, message }) => ({ path: `/${line}${path}`, message })));
      throw new HalError('InvalidInput', `none of the ${draft.rejectedCount} lines is a signal; each path starts with the number of the line`, { errors: errors.slice(0, NAMED) });
    }
    return { ...outcome, ids: draft.ids, rejected: draft.rejected, rejectedCount: draft.rejectedCount };
  }
}

class ReceiptDraft {
  readonly ids: string[] = [];
  readonly rejected: { line: number; errors: FieldError[] }[] = [];
  rejectedCount = 0;

  reject(line: number, errors: readonly FieldError[]): void {
    this.rejectedCount++;
    if (this.rejected.length < NAMED) this.rejected.push({ line, errors: [...errors] });
  }

  accept(key: string): void {
    if (this.ids.length < NAMED) this.ids.push(uuidText(key));
  }
}

function collect(line: number, prepared: Prepared, draft: ReceiptDraft, rows: SignalRow[]): void {
  if (prepared.row === undefined) return draft.reject(line, prepared.errors);
  draft.accept(prepared.row.key);
  rows.push(prepared.row);
}
