import { AuditActStore } from '../../database/audit-acts.ts';
import { BrowserSessionStore, type BrowserHealing } from '../../database/browser-sessions.ts';
import type { Database } from '../../database/database.ts';
import { flowSchema, type FlowDraft } from '../../schemas/browser/flow.ts';
import type { Locator } from '../../schemas/browser/locator.ts';
import { locatorSchema } from '../../schemas/browser/locator.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import type { Operations } from '../operations/contract.ts';

/** Fields of steps that hold the locator of the element they act on. */
const PLACES = ['on', 'into', 'from', 'to', 'inside'] as const;

/** Locators that found nothing any more, and the other ways that did. */
export class BrowserHealings {
  readonly #store: BrowserSessionStore;
  readonly #acts: AuditActStore;
  readonly #operations: Pick<Operations, 'input'>;

  constructor({ database, operations }: { database: Database; operations: Pick<Operations, 'input'> }) {
    this.#store = new BrowserSessionStore(database);
    this.#acts = new AuditActStore(database);
    this.#operations = operations;
  }

  /** Steps of the run's latest session that another way than the first had found. @throws {HalError} NotFound when it has none. */
  async list(caller: Caller, runId: string): Promise<BrowserHealing[]> {
    const [session] = await this.#store.ofRun(caller.orgId, runId);
    if (session === undefined) throw new HalError('NotFound', 'the run has no browser session');
    return this.#store.healings(caller.orgId, session.id);
  }

  /**
   * The flow of the run with the ways that found their elements in the first place, and those that did not after them. That it was asked for is on record.
   * @param paths only of these steps; default all.
   * @throws {HalError} NotFound; Conflict for a run without a flow of its own; Forbidden without `codec:decode`: it shows the run's input.
   */
  async accept(caller: Caller, runId: string, paths: readonly string[] | undefined): Promise<{ flow: FlowDraft; accepted: string[] }> {
    const healings = (await this.list(caller, runId)).filter(({ path }) => paths === undefined || paths.includes(path));
    const input = await this.#operations.input(caller, runId);
    const given: unknown = typeof input === 'object' && input !== null && 'flow' in input ? input.flow : undefined;
    if (typeof given !== 'object' || given === null) throw new HalError('Conflict', 'the run was not given a flow');
    const flow = healed(given, healings);
    await this.#acts.record(actOf(caller, 'browser.healing', { kind: 'run', id: runId }, { steps: healings.length }));
    return { flow, accepted: healings.map(({ path }) => path) };
  }
}

/** A flow in which each of these steps looks first where it was found. @throws {HalError} Conflict when the flow has no such step. */
export function healed(flow: object, healings: readonly Pick<BrowserHealing, 'path' | 'way'>[]): FlowDraft {
  const changed: unknown = structuredClone(flow);
  for (const { path, way } of healings) {
    const step = path.split('/').reduce<unknown>((part, segment) => (typeof part === 'object' && part !== null ? Reflect.get(part, segment) : undefined), changed);
    const place = typeof step === 'object' && step !== null ? PLACES.find((field) => field in step) : undefined;
    const locator = typeof step === 'object' && step !== null && place !== undefined ? locatorSchema.safeParse(Reflect.get(step, place)) : undefined;
    const first = locator?.success === true ? firstTried(locator.data, way) : undefined;
    if (typeof step !== 'object' || step === null || place === undefined || first === undefined) throw new HalError('Conflict', `the flow has no other way at ${path}`);
    Reflect.set(step, place, first);
  }
  flowSchema.parse(changed);
  return changed as FlowDraft;
}

/** The same ways, with one of them before the others. */
function firstTried({ or = [], ...before }: Locator, way: number): Locator | undefined {
  const found = or[way - 1];
  return found === undefined ? undefined : { ...found, or: [before, ...or.filter((_, index) => index !== way - 1)] };
}
