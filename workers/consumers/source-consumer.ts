import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { StoredSource } from '../../database/broker-sources.ts';
import { isConnectionFailure } from '../../database/failures.ts';
import type { BrokerIntake, Poison } from '../../platform/brokers/intake.ts';
import type { BrokerMessage } from '../../platform/brokers/message.ts';
import type { OutsideFailure } from '../../platform/connections/failure.ts';
import type { SourceDraft } from '../../schemas/brokers/definition.ts';
import { HalError } from '../../schemas/errors.ts';

const RETRY_MS = 250;
const FIRST_BACKOFF_MS = 200;
const LAST_BACKOFF_MS = 5_000;

/** What every consumer needs, whatever its broker. */
export interface SourceConsumerParts<Draft extends SourceDraft = SourceDraft> {
  readonly source: StoredSource<Draft>;
  readonly intake: Pick<BrokerIntake, 'take'>;
  /** Resolves when messages may be taken in: Temporal is there. Rejects when the signal aborts. */
  readonly gate: (signal: AbortSignal) => Promise<void>;
  /** How it stands, for people; failures in plain words. */
  readonly onState: (state: 'connected' | 'failed', failure: string | null) => Promise<void>;
  readonly onTaken: (messages: number, deadLetters: number) => void;
  readonly logger: Logger;
}

/**
 * One session after the other until the signal aborts, whatever the broker does meanwhile.
 * @param session from connecting to the end of the connection; says when it consumes.
 */
export async function keepConsuming(parts: SourceConsumerParts, explain: (error: unknown) => OutsideFailure, session: (onConnected: () => Promise<void>) => Promise<void>, signal: AbortSignal): Promise<void> {
  for (let failures = 0; !signal.aborted; ) {
    try {
      await session(async () => {
        failures = 0;
        await noted(parts, 'connected', null);
      });
    } catch (error) {
      if (signal.aborted) return;
      const { message } = explain(error);
      parts.logger[failures === 0 ? 'warn' : 'debug']({ source: parts.source.id, reason: message }, 'a source cannot be consumed');
      await noted(parts, 'failed', message);
      failures += 1;
    }
    // An aborted pause is the end, not a failure.
    await sleep(Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(failures, 8)), undefined, { signal }).catch(() => undefined);
  }
}

/** The same messages again until they are in: those after them must not overtake. Undefined when the session ended before. */
export async function takenIn({ gate, intake, source }: SourceConsumerParts, messages: readonly BrokerMessage[], ended: AbortSignal): Promise<Poison[] | undefined> {
  while (!ended.aborted) {
    try {
      await gate(ended);
      return await intake.take(source, messages);
    } catch (error) {
      if (ended.aborted) return undefined;
      const passes = isConnectionFailure(error) || (error instanceof HalError && error.failure.retryable);
      if (!passes) throw error;
      await sleep(RETRY_MS, undefined, { signal: ended }).catch(() => undefined);
    }
  }
  return undefined;
}

/** What people see must not keep messages waiting. */
async function noted({ onState, logger }: SourceConsumerParts, state: 'connected' | 'failed', failure: string | null): Promise<void> {
  try {
    await onState(state, failure);
  } catch (error) {
    logger.debug({ err: error }, 'the state of a source was not written');
  }
}
