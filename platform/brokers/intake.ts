import { v5 } from 'uuid';
import { z } from 'zod';
import { isRowFailure } from '../../database/failures.ts';
import { SourceStore, type StoredSource } from '../../database/broker-sources.ts';
import type { Database } from '../../database/database.ts';
import type { SignalRow } from '../../database/signals.ts';
import { HalError } from '../../schemas/errors.ts';
import { fieldErrors } from '../failures/translate.ts';
import { openKept } from '../keys/kept.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { SignalIngest } from '../signals/ingest.ts';
import type { LaneChooser } from '../signals/lane.ts';
import { subjectHash } from '../privacy/identities.ts';
import { prepareValue } from '../signals/prepare.ts';
import { messageHash, signalOfMessage, type BrokerMessage } from './message.ts';

export const DEAD_LETTER_PURPOSE = 'broker-dead-letters';
/** Longest cause kept, characters. */
const CAUSE_LENGTH = 1000;

const sealedMessage = z.object({ body: z.base64(), contentType: z.string().optional(), messageId: z.string().optional(), key: z.string().optional(), route: z.string(), headers: z.record(z.string(), z.string()) });

export interface IntakeParts {
  readonly database: Database;
  readonly ingest: Pick<SignalIngest, 'accept'>;
  readonly lanes: LaneChooser;
  readonly keys: KeyRing;
}

/** A message that is no signal, and why. */
export interface Poison {
  readonly message: BrokerMessage;
  readonly cause: string;
}

/** Takes messages in: once it resolves, each is a committed signal or a stored dead letter, and may be acknowledged. */
export class BrokerIntake {
  readonly #parts: IntakeParts;
  readonly #store: SourceStore;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#store = new SourceStore(parts.database);
  }

  /**
   * Messages keep their order within a key; one that was taken in before is not taken in again.
   * @returns those that became dead letters.
   * @throws {HalError} DependencyUnavailable while the database is away: nothing may be acknowledged; take the same messages again.
   */
  async take(source: StoredSource, messages: readonly BrokerMessage[]): Promise<Poison[]> {
    const poison: Poison[] = [];
    const rows: { readonly row: SignalRow; readonly message: BrokerMessage }[] = [];
    for (const message of messages) {
      const prepared = this.#prepare(source, message);
      if (typeof prepared === 'string') poison.push({ message, cause: prepared });
      else rows.push({ row: prepared, message });
    }
    try {
      if (rows.length > 0) await this.#parts.ingest.accept(source.orgId, undefined, rows.map(({ row }) => row));
    } catch (error) {
      if (!isRowFailure(error)) throw error;
      poison.push(...(await this.#oneByOne(source, rows)));
    }
    await this.#store.bury(source.orgId, source.id, poison.map(({ message, cause }) => this.#letter(source, message, cause)));
    await this.#store.noteReceived(source.orgId, source.id, messages.length);
    return poison;
  }

  /** Takes a dead letter in with the mapping of today. @throws {HalError} InvalidInput with the cause when it is still no signal; Unopenable. */
  async replay(source: StoredSource, letter: { readonly id: string; readonly sealed: Buffer }): Promise<void> {
    const { body, contentType, messageId, key, ...rest } = sealedMessage.parse(JSON.parse(openKept(this.#parts.keys, source.orgId, DEAD_LETTER_PURPOSE, letter.sealed, letter.id).toString('utf8')));
    const prepared = this.#prepare(source, { ...rest, contentType, messageId, ...(key === undefined ? {} : { key }), body: Buffer.from(body, 'base64') });
    if (typeof prepared === 'string') throw new HalError('InvalidInput', `the message is still no signal: ${prepared}`);
    await this.#parts.ingest.accept(source.orgId, undefined, [prepared]);
  }

  /** PostgreSQL refused one of them: the others must not be lost with it. */
  async #oneByOne(source: StoredSource, rows: readonly { readonly row: SignalRow; readonly message: BrokerMessage }[]): Promise<Poison[]> {
    const poison: Poison[] = [];
    for (const { row, message } of rows) {
      try {
        await this.#parts.ingest.accept(source.orgId, undefined, [row]);
      } catch (error) {
        if (!isRowFailure(error)) throw error;
        poison.push({ message, cause: 'the database cannot store it' });
      }
    }
    return poison;
  }

  /** The row, or why there is none. */
  #prepare(source: StoredSource, message: BrokerMessage): SignalRow | string {
    try {
      const signal = signalOfMessage(message, source.id, source.draft.mapping);
      const prepared = prepareValue(signal, { orgId: source.orgId, lanes: this.#parts.lanes, receivedAt: new Date().toISOString(), defaultSpecversion: false, subjectHash: (text) => subjectHash(this.#parts.keys, source.orgId, text) });
      return prepared.row ?? prepared.errors.map(({ path, message: text }) => `${path} ${text}`.trim()).join('; ').slice(0, CAUSE_LENGTH);
    } catch (error) {
      if (error instanceof HalError) return error.message;
      if (error instanceof z.ZodError) return fieldErrors(error, '').map(({ path, message: text }) => `${path} ${text}`).join('; ').slice(0, CAUSE_LENGTH);
      throw error;
    }
  }

  #letter({ orgId, id: sourceId }: StoredSource, { body, ...rest }: BrokerMessage, cause: string) {
    const id = v5(messageHash({ body, ...rest }), sourceId);
    return { id, cause, sealed: this.#parts.keys.seal(orgId, DEAD_LETTER_PURPOSE, JSON.stringify({ ...rest, body: body.toString('base64') }), id), bytes: body.length };
  }
}
