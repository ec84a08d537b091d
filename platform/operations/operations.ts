import { createHash, randomUUID } from 'node:crypto';
import { msToNumber } from '@temporalio/common/lib/time.js';
import { WithStartWorkflowOperation, type Client, type WorkflowHandleWithFirstExecutionRunId, type WorkflowStartOptions } from '@temporalio/client';
import { WorkflowExecutionAlreadyStartedError, defineSearchAttributeKey } from '@temporalio/common';
import type { Logger } from 'pino';
import { AuditActStore, noActHere, type Act, type ActDetails } from '../../database/audit-acts.ts';
import type { Database } from '../../database/database.ts';
import { ConcurrencyLeaseStore, type Lease } from '../../database/concurrency-leases.ts';
import { IdempotencyStore } from '../../database/idempotency.ts';
import { RunStore } from '../../database/runs.ts';
import { HalError } from '../../schemas/errors.ts';
import { SEARCH_ATTRIBUTES } from '../../schemas/names/search-attributes.ts';
import { formatRunId, formatWorkflowId, parseRunId, parseWorkflowId } from '../../schemas/names/workflow-id.ts';
import { workflowName, type MessageContract, type OperationContract } from '../../schemas/operations/operation.ts';
import { actOf } from '../audit/act.ts';
import { QUEUED_MEMO } from '../../schemas/names/messages.ts';
import type { Caller } from '../identity/caller.ts';
import { assertCan } from '../identity/permissions.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import { SubjectKeys } from '../keys/subject-keys.ts';
import { subjectHashes } from '../privacy/identities.ts';
import type { Admission } from '../usage/quota-gate.ts';
import type { RateLimits } from '../usage/rate-limits.ts';
import { withTraceparent } from '../telemetry/trace-context.ts';
import type { RunEvent } from '../../database/run-events.ts';
import type { FailureGroup } from '../../database/runs.ts';
import type { Operations, ReplayPlan, ReplayedRun, RunDescription, RunFilter, RunPage, RunResult, RunStep, StartRequest, StartedRun } from './contract.ts';
import { RunActions } from './run-actions.ts';
import { RunFeed } from './run-feed.ts';
import { RunHistory } from './run-history.ts';
import { DelayedStarts } from './delayed-starts.ts';
import { writeRunMemo } from './run-memo.ts';
import { RunReader } from './run-reader.ts';
import { RunRecorder } from './run-recorder.ts';
import type { RunRecording } from './run-recording.ts';
import { fromTemporal, type Attempt } from './temporal-failures.ts';
import { parsePayload } from './validation.ts';

/** Time for one call to Temporal, ms: longer than a failover of its server, shorter than a client's patience. */
const RPC_MS = 10_000;
/** Time for a run to answer a query, ms: a worker may have to replay its history first. */
const QUERY_MS = 5_000;
/** Time for a run to answer an update, ms; the update goes on afterwards. */
const UPDATE_MS = 30_000;
/** How long a run waits for the lease of its concurrency key, seconds. */
const QUEUE_SECONDS = 7 * 86_400;
/** How long an Idempotency-Key is remembered, ms. */
const IDEMPOTENCY_MS = 24 * 3600 * 1000;

const ORG_ID = defineSearchAttributeKey(SEARCH_ATTRIBUTES.orgId, 'KEYWORD');
const OPERATION = defineSearchAttributeKey(SEARCH_ATTRIBUTES.operation, 'KEYWORD');
const ORIGIN = defineSearchAttributeKey(SEARCH_ATTRIBUTES.origin, 'KEYWORD');

export interface OperationsDependencies {
  /** Temporal client whose data converter encrypts (`platform/codec`). */
  readonly client: Client;
  readonly database: Database;
  readonly contracts: ReadonlyMap<string, OperationContract>;
  readonly keys: KeyRing;
  readonly logger: Logger;
  /** Asked before each start but those of cascades; default: nothing is refused. */
  readonly admission?: Admission;
  /** Holds operations to their rate; default: no rate is enforced. */
  readonly rates?: Pick<RateLimits, 'takeStart'>;
}

/** The one way in. One per process; it keeps a small buffer of runs to record, so `close` it. */
export function createOperations(dependencies: OperationsDependencies): Operations {
  return new TemporalOperations(dependencies);
}

/** What a start comes down to. */
interface PreparedStart {
  readonly contract: OperationContract;
  readonly workflowType: string;
  readonly workflowId: string;
  readonly runId: string;
  readonly options: WorkflowStartOptions;
}

/** What a start got for its concurrency key; `ended`: it is there, but not to begin. */
type StartLease = Exclude<Lease, { state: 'full' }> & { readonly ended?: true };

type MessageKind = 'signals' | 'queries' | 'updates';

class TemporalOperations implements Operations {
  readonly contracts: ReadonlyMap<string, OperationContract>;
  readonly #client: Client;
  readonly #keys: KeyRing;
  readonly #idempotency: IdempotencyStore;
  readonly #recorder: RunRecorder;
  readonly #delayed: DelayedStarts;
  readonly #acts: AuditActStore;
  readonly #logger: Logger;
  readonly #admission: Admission | undefined;
  readonly #rates: Pick<RateLimits, 'takeStart'> | undefined;
  readonly #reader: RunReader;
  readonly #feed: RunFeed;
  readonly #leases: ConcurrencyLeaseStore;
  readonly #history: RunHistory;
  readonly #subjects: SubjectKeys;
  readonly #actions: RunActions;

  constructor(dependencies: OperationsDependencies) {
    const { client, database, contracts, keys, logger } = dependencies;
    this.contracts = contracts;
    this.#client = client;
    this.#keys = keys;
    this.#admission = dependencies.admission;
    this.#rates = dependencies.rates;
    this.#idempotency = new IdempotencyStore(database);
    this.#delayed = new DelayedStarts(database);
    const store = new RunStore(database);
    this.#acts = new AuditActStore(database);
    this.#logger = logger;
    this.#recorder = new RunRecorder(store, logger);
    this.#leases = new ConcurrencyLeaseStore(database);
    this.#feed = new RunFeed(database, logger);
    this.#reader = new RunReader(client, store, contracts, this.#feed, () => this.#recorder.flush(), this.#leases);
    this.#history = new RunHistory(client);
    this.#subjects = new SubjectKeys({ database, keys });
    this.#actions = new RunActions({
      client,
      database,
      contracts,
      history: this.#history,
      read: (caller, runId) => this.describe(caller, runId),
      flush: () => this.#recorder.flush(),
      changed: (orgId, runId) => this.#feed.forget(orgId, runId),
      start: (caller, request) => this.start(caller, request),
      audited: (caller, action, runId, details, work) => this.#audited(caller, action, runId, details, work),
    });
  }

  async start(caller: Caller, request: StartRequest): Promise<StartedRun> {
    return inTraceOf(caller, () => this.#start(caller, request));
  }

  async #start(caller: Caller, request: StartRequest): Promise<StartedRun> {
    const contract = this.#contractToStart(caller, request);
    const input = parsePayload(contract.input, request.input);
    if (request.idempotencyKey !== undefined) return this.#startOnce(caller, request, contract, input, request.idempotencyKey);
    return this.#startPrepared(caller, request, await this.#prepare(caller, request, contract, input));
  }

  async startWithUpdate(caller: Caller, request: StartRequest, update: { name: string; payload: unknown; timeoutMs: number }): Promise<unknown> {
    const contract = this.#contractToStart(caller, request);
    const message = messageOf(contract, 'updates', update.name);
    const payload = parsePayload(message.payload, update.payload);
    const prepared = await this.#prepare(caller, request, contract, parsePayload(contract.input, request.input));
    const { workflowType, workflowId, runId, options } = prepared;
    const startWorkflowOperation = new WithStartWorkflowOperation(workflowType, { ...options, workflowId, workflowIdConflictPolicy: 'USE_EXISTING' });
    const startedAt = new Date();
    const answer = await this.#call('update', caller, runId, update.timeoutMs, () =>
      this.#client.workflow.executeUpdateWithStart(update.name, { args: [payload], startWorkflowOperation }),
    );
    this.#record(caller, request, prepared, startedAt);
    return answer;
  }

  async signal(caller: Caller, runId: string, name: string, payload: unknown): Promise<void> {
    const { workflowId, message } = this.#messageTo(caller, runId, 'signals', name);
    const value = parsePayload(message.payload, payload);
    await this.#audited(caller, 'run.signal', runId, { name }, () => this.#call('signal', caller, runId, RPC_MS, () => this.#client.workflow.getHandle(workflowId).signal(name, value)));
  }

  async query(caller: Caller, runId: string, name: string, payload: unknown): Promise<unknown> {
    const { workflowId, message } = this.#messageTo(caller, runId, 'queries', name);
    const value = parsePayload(message.payload, payload);
    return this.#call('query', caller, runId, QUERY_MS, () => this.#client.workflow.getHandle(workflowId).query(name, value));
  }

  async update(caller: Caller, runId: string, name: string, payload: unknown, timeoutMs = UPDATE_MS): Promise<unknown> {
    const { workflowId, message } = this.#messageTo(caller, runId, 'updates', name);
    const value = parsePayload(message.payload, payload);
    return this.#audited(caller, 'run.update', runId, { name }, () => this.#call('update', caller, runId, timeoutMs, () => this.#client.workflow.getHandle(workflowId).executeUpdate(name, { args: [value] })));
  }

  async cancel(caller: Caller, runId: string): Promise<void> {
    const workflowId = this.#ownRun(caller, runId, 'runs:write');
    await this.#audited(caller, 'run.cancel', runId, {}, () => this.#call('cancel', caller, runId, RPC_MS, () => this.#client.workflow.getHandle(workflowId).cancel()));
  }

  async terminate(caller: Caller, runId: string, reason: string): Promise<void> {
    const workflowId = this.#ownRun(caller, runId, 'runs:write');
    await this.#audited(caller, 'run.terminate', runId, {}, () => this.#call('terminate', caller, runId, RPC_MS, () => this.#client.workflow.getHandle(workflowId).terminate(reason)));
  }

  async pause(caller: Caller, runId: string): Promise<boolean> {
    return this.#actions.setPaused(caller, runId, this.#ownRun(caller, runId, 'runs:write'), true);
  }

  async resume(caller: Caller, runId: string): Promise<boolean> {
    return this.#actions.setPaused(caller, runId, this.#ownRun(caller, runId, 'runs:write'), false);
  }

  async retry(caller: Caller, runId: string, uuid?: string): Promise<StartedRun> {
    return this.#actions.retry(caller, runId, this.#ownRun(caller, runId, 'runs:write'), uuid);
  }

  async replayPlan(caller: Caller, runId: string, fromEvent: number | undefined): Promise<ReplayPlan> {
    noActHere('nothing-changed');
    return this.#actions.plan(caller, runId, this.#ownRun(caller, runId, 'runs:read'), fromEvent);
  }

  async replay(caller: Caller, runId: string, fromEvent: number | undefined, reason: string): Promise<ReplayedRun> {
    const workflowId = this.#ownRun(caller, runId, 'runs:write');
    // What is done again is the operation: its own permission is asked for, as by a start.
    const contract = this.contracts.get(parseWorkflowId(workflowId)?.operation ?? '');
    if (contract !== undefined) assertCan(caller, contract.permission, { type: contract.name });
    return this.#actions.replay(caller, runId, workflowId, fromEvent, reason);
  }

  async timeline(caller: Caller, runId: string, payloads: boolean): Promise<{ steps: readonly RunStep[]; events: number }> {
    const workflowId = this.#ownRun(caller, runId, 'runs:read');
    if (payloads) assertCan(caller, 'codec:decode');
    return this.#history.timeline(runId, workflowId, payloads);
  }

  async input(caller: Caller, runId: string): Promise<unknown> {
    const workflowId = this.#ownRun(caller, runId, 'runs:read');
    assertCan(caller, 'codec:decode');
    return this.#history.input(runId, workflowId);
  }

  async recording(caller: Caller, runId: string): Promise<RunRecording> {
    const workflowId = this.#ownRun(caller, runId, 'runs:read');
    assertCan(caller, 'codec:decode');
    return this.#history.recording(runId, workflowId);
  }

  async failures(caller: Caller, query: { operation?: string; from: Date; to: Date; limit: number }): Promise<readonly FailureGroup[]> {
    return this.#reader.failures(caller, query);
  }

  async watch(caller: Caller, runId: string, after: number, signal: AbortSignal): Promise<AsyncIterable<readonly RunEvent[]>> {
    return this.#reader.watch(caller, runId, this.#ownRun(caller, runId, 'runs:read'), after, signal);
  }

  async ended(caller: Caller, runId: string, after: number): Promise<boolean> {
    this.#ownRun(caller, runId, 'runs:read');
    return this.#reader.ended(caller, runId, after);
  }

  async read(caller: Caller, runId: string): Promise<RunDescription> {
    return this.#reader.read(caller, runId, this.#ownRun(caller, runId, 'runs:read'));
  }

  async list(caller: Caller, filter: RunFilter): Promise<RunPage> {
    return this.#reader.list(caller, filter);
  }

  async describe(caller: Caller, runId: string): Promise<RunDescription> {
    return this.#reader.describe(caller, runId, this.#ownRun(caller, runId, 'runs:read'));
  }

  async result(caller: Caller, runId: string, waitMs: number): Promise<RunResult> {
    return this.#reader.result(caller, runId, this.#ownRun(caller, runId, 'runs:read'), waitMs);
  }

  async close(): Promise<void> {
    await this.#feed.close();
    await this.#recorder.flush();
  }

  #contractToStart(caller: Caller, request: StartRequest): OperationContract {
    const contract = this.contracts.get(request.operation);
    if (contract === undefined || (contract.exposure === 'internal' && request.origin === 'api')) {
      throw new HalError('UnknownOperation', `no operation "${request.operation}"`);
    }
    assertCan(caller, contract.permission, { type: contract.name });
    return contract;
  }

  /** @param kept parts of the run id that were kept for an Idempotency-Key. */
  async #prepare(caller: Caller, request: StartRequest, contract: OperationContract, input: unknown, kept?: { readonly uuid: string; readonly keyId?: string | undefined }): Promise<PreparedStart> {
    const uuid = kept?.uuid;
    const keyed = contract.id === 'uuid' ? undefined : this.#keys.hmacUuid(caller.orgId, `id/${contract.name}`, contract.id(input));
    const keyId = kept?.keyId ?? (await this.#subjectKey(caller, request, contract, input));
    const parts = { operation: contract.name, uuid: request.uuid ?? keyed ?? uuid ?? randomUUID(), ...(keyId === undefined ? {} : { keyId }) };
    // A uuid from HAL9's own start, or one kept for an Idempotency-Key, names one run for ever.
    const once = (request.uuid !== undefined && request.again !== true) || (keyed === undefined && uuid !== undefined);
    const workflowId = formatWorkflowId({ orgId: caller.orgId, ...parts });
    return {
      contract,
      workflowType: workflowName(contract.name),
      workflowId,
      runId: formatRunId(parts),
      options: {
        workflowId,
        taskQueue: request.taskQueue ?? contract.taskQueue,
        args: [input],
        workflowExecutionTimeout: timeoutOf(contract, request),
        priority: { priorityKey: request.priority ?? 3, fairnessKey: caller.orgId },
        ...(contract.timeouts.task === undefined ? {} : { workflowTaskTimeout: contract.timeouts.task }),
        workflowIdReusePolicy: once ? 'REJECT_DUPLICATE' : REUSE[contract.reusePolicy],
        workflowIdConflictPolicy: !once && contract.conflictPolicy === 'terminate-existing' ? 'TERMINATE_EXISTING' : 'FAIL',
        typedSearchAttributes: [
          { key: ORG_ID, value: caller.orgId },
          { key: OPERATION, value: contract.name },
          { key: ORIGIN, value: request.origin },
        ],
        memo: writeRunMemo(caller, request),
        ...(request.delaySeconds === undefined ? {} : { startDelay: request.delaySeconds * 1000 }),
      },
    };
  }

  /** The key of the person the run is about. @throws {HalError} InvalidInput when contract and start name different people. */
  async #subjectKey(caller: Caller, request: StartRequest, contract: OperationContract, input: unknown): Promise<string | undefined> {
    const [declared, stated] = [contract.subject?.(input), request.subject].map((subject) => (subject === undefined ? undefined : subjectHashes(this.#keys, caller.orgId, { [subject.kind]: [subject.value] })[0]));
    if (declared !== undefined && stated !== undefined && !declared.equals(stated)) throw new HalError('InvalidInput', 'the start names another person than its input', { errors: [{ path: '/subject', message: `${contract.name} takes the person from its input` }] });
    const subject = stated ?? declared;
    return subject === undefined ? undefined : this.#subjects.keyOf(caller.orgId, subject);
  }

  /** The same key and body is the same run; the row is taken before Temporal is called, so that two callers cannot both win. */
  async #startOnce(caller: Caller, request: StartRequest, contract: OperationContract, input: unknown, key: string): Promise<StartedRun> {
    const prepared = await this.#prepare(caller, request, contract, input, { uuid: randomUUID() });
    const keyHash = this.#keys.hmac(caller.orgId, `idempotency/${contract.name}`, key);
    const record = await this.#idempotency.claim({
      orgId: caller.orgId,
      operation: contract.name,
      keyHash,
      bodyHash: bodyHash(request),
      runId: prepared.runId,
      expiresAt: new Date(Date.now() + IDEMPOTENCY_MS),
    });
    if (!record.bodyHash.equals(bodyHash(request))) {
      throw new HalError('IdempotencyMismatch', 'this Idempotency-Key was used to start the operation with another body');
    }
    const kept = parseRunId(record.runId);
    const mine = kept === undefined || record.runId === prepared.runId ? prepared : await this.#prepare(caller, request, contract, input, kept);
    if (record.started) {
      noActHere('nothing-changed');
      return { runId: mine.runId, workflowId: mine.workflowId, created: false };
    }
    const started = await this.#startPrepared(caller, request, mine);
    await this.#idempotency.markStarted(caller.orgId, contract.name, keyHash);
    return started;
  }

  async #startPrepared(caller: Caller, request: StartRequest, prepared: PreparedStart): Promise<StartedRun> {
    const { contract, workflowType, workflowId, runId, options } = prepared;
    const begin = (changes: Partial<WorkflowStartOptions>): Promise<WorkflowHandleWithFirstExecutionRunId> =>
      this.#client.withDeadline(Date.now() + RPC_MS, () => this.#client.workflow.start(workflowType, { ...options, ...changes }));
    // Signals were admitted when they came in; the cascade that decides them is not refused.
    if (request.origin !== 'dispatcher') this.#rates?.takeStart(caller.orgId, contract);
    const admitted = request.origin === 'dispatcher' ? undefined : this.#admission?.admit(caller.orgId, 'runs', 1);
    if (admitted !== undefined) await admitted;
    // What it will use nobody knows yet: a unit must be left.
    if (contract.meter !== undefined) await this.#admission?.admit(caller.orgId, contract.meter, 1);
    const place = request.origin === 'dispatcher' ? undefined : this.#admission?.openRun(caller.orgId, runId);
    if (place !== undefined) await place;
    const lease = await this.#leaseFor(caller, request, prepared).catch(async (error: unknown) => {
      await this.#admission?.notOpened(caller.orgId, runId);
      throw error;
    });
    if (lease?.state === 'queued') {
      options.memo = { ...options.memo, [QUEUED_MEMO]: true };
      options.workflowExecutionTimeout = holdMs(contract, request) + QUEUE_SECONDS * 1000;
    }
    // Before the call: a quick run may have ended when it returns.
    const startedAt = new Date();
    let handle: WorkflowHandleWithFirstExecutionRunId;
    try {
      handle = await begin({});
    } catch (error) {
      // Whether a call that failed has reached Temporal is not known: the dispatcher looks after a minute.
      if (error instanceof WorkflowExecutionAlreadyStartedError && lease?.mine === true) await this.#leases.release(caller.orgId, runId);
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw fromTemporal(error, 'start', runId);
      await this.#admission?.notOpened(caller.orgId, runId);
      const once = options.workflowIdReusePolicy === 'REJECT_DUPLICATE' && contract.reusePolicy !== 'reject-duplicate';
      noActHere('nothing-changed');
      if (once || request.again === true) return { runId, workflowId, created: false };
      if (contract.conflictPolicy !== 'use-existing') throw fromTemporal(error, 'start', runId);
      // Only now, because Temporal does not tell whether it used an existing run.
      await begin({ workflowIdConflictPolicy: 'USE_EXISTING' }).catch((failure: unknown) => {
        throw fromTemporal(failure, 'start', runId);
      });
      return { runId, workflowId, created: false };
    }
    if (request.delaySeconds !== undefined) await this.#delayed.note(caller, runId, handle, request.delaySeconds);
    if (lease?.ended === true) await handle.terminate('as many runs as its concurrency key allows are open');
    else if (lease?.state === 'queued') await this.#delayed.note(caller, runId, handle, QUEUE_SECONDS);
    this.#record(caller, request, prepared, startedAt);
    for (const other of lease?.instead ?? []) await this.#giveWay(caller, other);
    return { runId, workflowId, created: true, ...(lease?.state === 'queued' && lease.ended !== true ? { queued: true } : {}) };
  }

  /**
   * The lease that the operation's rule, or the start's own, asks for.
   * @throws {HalError} RateLimited when it is full and nobody waits or gives way.
   */
  async #leaseFor(caller: Caller, request: StartRequest, { contract, runId, options }: PreparedStart): Promise<StartLease | undefined> {
    const [input]: readonly unknown[] = options.args ?? [];
    const key = request.concurrency?.key ?? contract.concurrency?.key(input);
    const rule = request.concurrency ?? contract.concurrency;
    if (key === undefined || rule === undefined) return undefined;
    if (request.delaySeconds !== undefined) throw new HalError('InvalidInput', 'a start with a concurrency key cannot be delayed: it would hold its place while it waits');
    const keyHash = this.#keys.hmac(caller.orgId, `concurrency/${contract.name}`, key);
    const lease = await this.#leases.acquire({ orgId: caller.orgId, runId, operation: contract.name, keyHash, most: rule.limit, onConflict: rule.onConflict, holdMs: holdMs(contract, request) });
    if (lease.state === 'full' && rule.onConflict === 'cancel-newest') return { state: 'queued', mine: false, instead: [], ended: true };
    if (lease.state === 'full') throw new HalError('RateLimited', `${rule.limit} runs of "${contract.name}" are open for this concurrency key`, { retryAfterSeconds: 1 });
    return lease;
  }

  /** Ends a run in favour of a later one; one that has just ended by itself is as good. */
  async #giveWay(caller: Caller, runId: string): Promise<void> {
    await this.cancel({ ...caller, scopes: ['*'] }, runId).catch((error: unknown) => {
      if (!(error instanceof HalError) || (error.type !== 'RunClosed' && error.type !== 'NotFound')) throw error;
    });
  }

  #record(caller: Caller, request: StartRequest, prepared: PreparedStart, startedAt: Date): void {
    this.#recorder.record({
      orgId: caller.orgId,
      runId: prepared.runId,
      operation: prepared.contract.name,
      origin: request.origin,
      status: 'running',
      tags: request.tags ?? [],
      actor: actorOf(caller),
      requestId: caller.requestId,
      traceparent: caller.traceparent ?? null,
      startedAt,
      closedAt: null,
      failure: null,
      retryOf: request.retryOf ?? null,
      startAct: { impersonatorId: caller.impersonatorId ?? null, risk: caller.risk ?? 0, personal: actOf(caller, 'run.start', { kind: 'run', id: prepared.runId }).personal },
    });
    noActHere('written-with-its-cause');
  }

  /** The workflow id of a run of the caller's organisation; existence is Temporal's to say. */
  #ownRun(caller: Caller, runId: string, permission: string): string {
    const parts = parseRunId(runId);
    if (parts === undefined) throw new HalError('NotFound', 'no such run');
    assertCan(caller, permission, { type: parts.operation, id: runId });
    return formatWorkflowId({ orgId: caller.orgId, ...parts });
  }

  #messageTo(caller: Caller, runId: string, kind: MessageKind, name: string): { workflowId: string; message: MessageContract } {
    const workflowId = this.#ownRun(caller, runId, kind === 'queries' ? 'runs:read' : 'runs:write');
    const operation = parseWorkflowId(workflowId)?.operation ?? '';
    const contract = this.contracts.get(operation);
    if (contract === undefined) throw new HalError('UnknownOperation', `no operation "${operation}"`);
    const message = messageOf(contract, kind, name);
    if (message.permission !== undefined) assertCan(caller, message.permission, { type: operation });
    return { workflowId, message };
  }

  /**
   * A message to Temporal shares no transaction with the act of it: what is intended is written before, what came of it after. One
   * without an outcome is one whose process died between.
   */
  async #audited<T>(caller: Caller, action: string, runId: string, details: ActDetails, work: () => Promise<T>): Promise<T> {
    // HAL9's own messages are part of a cause that has its act.
    if (caller.actor.kind === 'system') return work();
    const write = (phase: string, result: Act['result'], more: ActDetails = {}): Promise<void> => this.#acts.record(actOf(caller, action, { kind: 'run', id: runId }, { ...details, ...more, phase }, result));
    await write('intended', 'succeeded');
    // What came of it stands whether or not it can be written down; the intention was.
    const noted = (writing: Promise<void>): Promise<void> => writing.catch((error: unknown) => this.#logger.warn({ err: error, action }, 'the outcome of an act was not written'));
    try {
      const answer = await work();
      await noted(write('done', 'succeeded'));
      return answer;
    } catch (error) {
      await noted(write('done', 'failed', { type: error instanceof HalError ? error.type : 'Internal' }));
      throw error;
    }
  }

  async #call<T>(attempt: Attempt, caller: Caller, runId: string, timeoutMs: number, work: () => Promise<T>): Promise<T> {
    try {
      return await inTraceOf(caller, () => this.#client.withDeadline(Date.now() + timeoutMs, work));
    } catch (error) {
      throw fromTemporal(error, attempt, runId);
    }
  }
}

const REUSE = {
  'allow-duplicate': 'ALLOW_DUPLICATE',
  'allow-duplicate-failed-only': 'ALLOW_DUPLICATE_FAILED_ONLY',
  'reject-duplicate': 'REJECT_DUPLICATE',
} as const satisfies Record<OperationContract['reusePolicy'], WorkflowStartOptions['workflowIdReusePolicy']>;

function messageOf(contract: OperationContract, kind: MessageKind, name: string): MessageContract {
  const message = Object.hasOwn(contract[kind], name) ? contract[kind][name] : undefined;
  if (message === undefined) throw new HalError('UnknownMessage', `the operation "${contract.name}" has no ${SINGULAR[kind]} "${name}"`);
  return message;
}

const SINGULAR = { signals: 'signal', queries: 'query', updates: 'update' } as const;

/** Time a run may take once it has begun, ms. */
function holdMs(contract: OperationContract, { timeoutSeconds }: StartRequest): number {
  return timeoutSeconds === undefined ? msToNumber(contract.timeouts.execution) : timeoutSeconds * 1000;
}

/** @throws {HalError} InvalidInput when more is asked for than the operation allows. */
function timeoutOf(contract: OperationContract, { timeoutSeconds, delaySeconds = 0 }: StartRequest): OperationContract['timeouts']['execution'] | number {
  if (timeoutSeconds === undefined) return contract.timeouts.execution;
  if (timeoutSeconds * 1000 > msToNumber(contract.timeouts.execution)) {
    throw new HalError('InvalidInput', `the operation "${contract.name}" may take ${contract.timeouts.execution} at the most`);
  }
  // Temporal counts from the start, the delay included.
  return (timeoutSeconds + delaySeconds) * 1000;
}

function actorOf({ actor }: Caller): string {
  return `${actor.kind}:${actor.id}`;
}

/** A caller without a trace leaves the one of the calling code. */
function inTraceOf<T>(caller: Caller, work: () => Promise<T>): Promise<T> {
  return caller.traceparent === undefined ? work() : withTraceparent(caller.traceparent, work);
}

/** What must be equal for two starts under one key to be the same request. */
function bodyHash(request: StartRequest): Buffer {
  const { operation, input, delaySeconds, timeoutSeconds, priority, memo, concurrency, tags, taskQueue } = request;
  return createHash('sha256').update(canonical({ operation, input, delaySeconds, timeoutSeconds, priority, memo, concurrency, tags, taskQueue })).digest();
}

/** JSON with members in a fixed order (as RFC 8785 orders them), so that the order of the sender does not matter. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}
