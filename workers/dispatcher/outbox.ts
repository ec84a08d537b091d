import type { Logger } from 'pino';
import { z } from 'zod';
import { OUTBOX_CHANNEL } from '../../database/cascade-commit.ts';
import { type OutboxEntry, OutboxStore } from '../../database/outbox.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { createNotify, type Notify } from '../../platform/notify/notify.ts';
import type { OperationsPort } from '../../platform/operations/contract.ts';
import { HalError } from '../../schemas/errors.ts';
import { SEVERITIES } from '../../schemas/neurons/definition.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

export interface OutboxDrainOptions {
  readonly outbox: OutboxStore;
  readonly operations: Pick<OperationsPort, 'start'>;
  readonly notify: Pick<Notify, 'deliver'>;
  readonly logger: Logger;
}

const ENTRIES_AT_ONCE = 50;
/** Tries of an effect whose target is away: with {@link MOST_SECONDS} between them about a day. */
const MOST_TRIES = 300;
const MOST_SECONDS = 300;

const operationPayload = z.object({ type: z.string(), input: z.unknown() });
const notificationPayload = z.object({ connection: z.string(), title: z.string(), message: z.string(), severity: z.enum(SEVERITIES) });

/** The drain as the dispatcher runs it. */
export function createOutboxDrain({ config, database, keys, logger, operations }: BackgroundProcess): Drain {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const notify = createNotify({ database, egress, connections: new Connections({ database, keys, egress }) });
  return createOutbox({ outbox: new OutboxStore(database), operations, notify, logger });
}

/** Lets the effects of decisions leave: at least once from here, exactly once at their target, because the decision's id is the run's uuid and the message's key. */
export function createOutbox(options: OutboxDrainOptions): Drain {
  const { outbox } = options;
  return {
    name: 'outbox',
    channels: [OUTBOX_CHANNEL],
    pollMs: 1000,
    async run() {
      const entries = await outbox.takeAcrossOrganisations(ENTRIES_AT_ONCE);
      await Promise.all(entries.map((entry) => send(options, entry)));
      return entries.length === ENTRIES_AT_ONCE;
    },
  };
}

async function send(options: OutboxDrainOptions, entry: OutboxEntry): Promise<void> {
  const { outbox, logger } = options;
  try {
    await outbox.done(entry, await leave(options, entry));
  } catch (error) {
    const failure = wording(error);
    if (isPermanent(error) || entry.attempts >= MOST_TRIES) {
      logger.warn({ decision: entry.id, kind: entry.kind, failure }, 'the effect of a decision failed');
      await outbox.fail(entry, failure);
    } else {
      const wait = error instanceof HalError ? error.retryAfterSeconds : undefined;
      await outbox.retry(entry, failure, Math.min(MOST_SECONDS, Math.max(wait ?? 0, 2 ** Math.min(entry.attempts - 1, 12))));
    }
  }
}

/** @returns the run it started, if it started one. */
async function leave({ operations, notify }: OutboxDrainOptions, entry: OutboxEntry): Promise<string | undefined> {
  const caller = systemCaller(entry.orgId, 'outbox', entry.traceparent ?? undefined);
  if (entry.kind === 'notification') {
    const message = notificationPayload.parse(entry.payload);
    await notify.deliver(caller, { ...message, dedupKey: entry.id });
    return undefined;
  }
  const { type, input } = operationPayload.parse(entry.payload);
  const { runId } = await operations.start(caller, { operation: type, input, uuid: entry.id, origin: 'decision' });
  return runId;
}

/** Failures that no retry mends: the operation is unknown, its input wrong, the connection missing. */
function isPermanent(error: unknown): boolean {
  if (error instanceof z.ZodError) return true;
  return error instanceof HalError && !error.failure.retryable;
}

function wording(error: unknown): string {
  if (error instanceof z.ZodError) return 'the stored effect cannot be read';
  return error instanceof HalError ? `${error.type}: ${error.message}` : 'HAL9 failed; see the log of the dispatcher';
}
