import { randomUUID } from 'node:crypto';
import { FiringStore, type FiringRecord, type FiringState } from '../../database/automation-firings.ts';
import { AutomationStore, type AutomationChange, type AutomationOwner, type AutomationVersion, type StoredAutomation } from '../../database/automations.ts';
import type { Database } from '../../database/database.ts';
import type { AutomationVerdict } from '../../neurons/automation.ts';
import type { NeuronSignal } from '../../neurons/layer.ts';
import type { AutomationDefinition, AutomationDraft } from '../../schemas/automations/definition.ts';
import { HalError, type FieldError } from '../../schemas/errors.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import { isRecord } from '../../schemas/signals/is-signal.ts';
import { actOf } from '../audit/act.ts';
import { fieldErrors } from '../failures/translate.ts';
import type { Caller } from '../identity/caller.ts';
import { assertCan } from '../identity/permissions.ts';
import { uuidText } from '../signals/key.ts';
import type { AutomationEngine } from './engine.ts';
import { ownerOf, permissionOf } from './owner.ts';

export interface AutomationDependencies {
  readonly database: Database;
  readonly engine: AutomationEngine;
  /** Operations that automations may start. */
  readonly contracts: ReadonlyMap<string, OperationContract>;
}

/** A stored automation, and what about it deserves a second look. */
export interface SavedAutomation {
  readonly automation: StoredAutomation;
  readonly warnings: readonly string[];
}

/** What an automation would do with one signal. */
export interface Trial {
  /** HAL9's id; null for a sample. */
  readonly signal: string | null;
  readonly type: string;
  readonly verdict: AutomationVerdict;
  /** Why the operation would refuse the mapped input; empty when it would take it. */
  readonly inputErrors: readonly FieldError[];
}

/** Automations of an organisation. */
export class Automations {
  readonly #store: AutomationStore;
  readonly #firings: FiringStore;
  readonly #engine: AutomationEngine;
  readonly #contracts: ReadonlyMap<string, OperationContract>;

  constructor({ database, engine, contracts }: AutomationDependencies) {
    this.#store = new AutomationStore(database);
    this.#firings = new FiringStore(database);
    this.#engine = engine;
    this.#contracts = contracts;
  }

  /** By name, at most `limit`; `after` continues a page. */
  async list(caller: Caller, limit: number, after?: string): Promise<StoredAutomation[]> {
    return this.#store.list(caller.orgId, limit, after);
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<StoredAutomation> {
    const automation = await this.#store.find(caller.orgId, id);
    if (automation === undefined) throw new HalError('NotFound', 'there is no such automation');
    return automation;
  }

  /** @throws {HalError} `InvalidInput` when it does not compile, `Forbidden` when the caller may not have its effect, `Conflict` when the name is taken. */
  async create(caller: Caller, draft: AutomationDraft): Promise<SavedAutomation> {
    const id = randomUUID();
    this.#check(caller, draft);
    const created = await this.#store.create(caller.orgId, id, draft, ownerOf(caller), actOf(caller, 'automation.create', { kind: 'automation', id }, facts(draft)));
    if (created === undefined) throw nameTaken();
    return this.#withWarnings(caller, created);
  }

  /**
   * Stores a new version, owned by the caller.
   * @param expected the version the change was made from.
   * @throws {HalError} as {@link create}; `NotFound`; `Conflict` when another version is there by now.
   */
  async replace(caller: Caller, id: string, expected: number | undefined, draft: AutomationDraft): Promise<SavedAutomation> {
    this.#check(caller, draft);
    return this.#change(caller, id, expected, draft, ownerOf(caller), 'automation.update');
  }

  /** Switches it on (the caller becomes its owner, a pause ends) or off (the owner stays). @throws {HalError} as {@link replace}. */
  async setEnabled(caller: Caller, id: string, enabled: boolean): Promise<SavedAutomation> {
    const current = await this.get(caller, id);
    if (current.draft.enabled === enabled && current.pausedAt === null) return this.#withWarnings(caller, current);
    const draft = { ...current.draft, enabled };
    if (enabled) this.#check(caller, draft);
    return this.#change(caller, id, current.version, draft, enabled ? ownerOf(caller) : current.owner, enabled ? 'automation.enable' : 'automation.disable');
  }

  /** @throws {HalError} `NotFound`. */
  async remove(caller: Caller, id: string): Promise<void> {
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'automation.delete', { kind: 'automation', id })))) throw new HalError('NotFound', 'there is no such automation');
  }

  /** Newest first. @throws {HalError} `NotFound`. */
  async versions(caller: Caller, id: string, limit: number): Promise<AutomationVersion[]> {
    await this.get(caller, id);
    return this.#store.versions(caller.orgId, id, limit);
  }

  /** What it did, newest first; `before` is the `seq` of the last of the page before. */
  async firings(caller: Caller, id: string, filter: { readonly state?: FiringState }, limit: number, before?: number): Promise<FiringRecord[]> {
    return this.#firings.list(caller.orgId, id, filter, limit, before);
  }

  /** What a draft would do with samples. Nothing is stored or started. @throws {HalError} `InvalidInput`. */
  test(draft: AutomationDraft, samples: readonly NeuronSignal[]): Trial[] {
    const definition = definitionOf(draft);
    this.#assertValid(definition);
    return this.#engine.judge(definition, samples).map((verdict, index) => this.#trial(null, samples[index]?.type ?? '', verdict));
  }

  /** What a draft would have done with the latest signals of the types and sources it looks at, newest first. Nothing is stored or started. @throws {HalError} `InvalidInput`. */
  async dryRun(caller: Caller, draft: AutomationDraft, signals: number): Promise<Trial[]> {
    const definition = definitionOf(draft);
    this.#assertValid(definition);
    const recent = (await this.#store.recentSignals(caller.orgId, this.#engine.selection(definition), signals)).flatMap(({ key, envelope }) => readable(key, envelope) ?? []);
    return this.#engine.judge(definition, recent).map((verdict, index) => this.#trial(recent[index]?.ref ?? '', recent[index]?.type ?? '', verdict));
  }

  #trial(signal: string | null, type: string, verdict: AutomationVerdict): Trial {
    const effect = verdict.kind === 'fire' ? verdict.effect : undefined;
    const contract = effect?.kind === 'operation' ? this.#contracts.get(effect.operation) : undefined;
    if (effect?.kind !== 'operation') return { signal, type, verdict, inputErrors: [] };
    if (contract === undefined) return { signal, type, verdict, inputErrors: [{ path: '/effect/operation', message: `no operation "${effect.operation}"` }] };
    const parsed = contract.input.safeParse(effect.input);
    return { signal, type, verdict, inputErrors: parsed.success ? [] : fieldErrors(parsed.error, '') };
  }

  async #change(caller: Caller, id: string, expected: number | undefined, draft: AutomationDraft, owner: AutomationOwner, action: string): Promise<SavedAutomation> {
    const outcome = await this.#store.change(caller.orgId, id, expected, draft, owner, actOf(caller, action, { kind: 'automation', id }, facts(draft)));
    return this.#withWarnings(caller, changed(outcome));
  }

  async #withWarnings(caller: Caller, automation: StoredAutomation): Promise<SavedAutomation> {
    const { id, version, draft } = automation;
    const loops = this.#engine.loops({ ...definitionOf(draft), id, version }, await this.#store.active(caller.orgId));
    return { automation, warnings: loops.map((names) => `it may set itself off again: ${names.join(' -> ')}; it will be paused once it does`) };
  }

  #check(caller: Caller, draft: AutomationDraft): void {
    this.#assertValid(definitionOf(draft));
    const needed = permissionOf(draft.effect, this.#contracts);
    assertCan(caller, needed.permission, needed.attributes);
  }

  #assertValid(definition: AutomationDefinition): void {
    const errors = this.#engine.validate(definition);
    if (errors.length > 0) throw new HalError('InvalidInput', 'the automation does not compile', { errors });
  }
}

/** A stored signal as expressions see it; undefined for a text that is none. */
function readable(key: string, envelope: string): NeuronSignal | undefined {
  const value: unknown = JSON.parse(envelope);
  return isRecord(value) ? signalOf(value, key.includes('-') ? key : uuidText(key)) : undefined;
}

/** An envelope as expressions see it; undefined when it lacks what every signal has. */
export function signalOf(envelope: Readonly<Record<string, unknown>>, ref: string): NeuronSignal | undefined {
  const { id, source, type, time, ...rest } = envelope;
  const timeMs = typeof time === 'string' ? Date.parse(time) : Number.NaN;
  if (typeof id !== 'string' || typeof source !== 'string' || typeof type !== 'string' || !Number.isFinite(timeMs)) return undefined;
  const { path: _path, depth: _depth, ...visible } = rest;
  return { ...visible, ref, id, source, type, time, timeMs };
}

function definitionOf({ name, trigger, condition, effect }: AutomationDraft): AutomationDefinition {
  return { id: 'draft', version: 0, name, trigger, effect, ...(condition === undefined ? {} : { condition }) };
}

/** What of a draft may stand in the audit log: kinds, not names or expressions. */
function facts({ trigger, effect, enabled }: AutomationDraft): Record<string, string | boolean> {
  return { trigger: trigger.kind, effect: effect.kind, enabled };
}

function changed(outcome: AutomationChange): StoredAutomation {
  switch (outcome.kind) {
    case 'changed': return outcome.automation;
    case 'missing': throw new HalError('NotFound', 'there is no such automation');
    case 'stale': throw new HalError('Conflict', `the automation is at version ${String(outcome.version)} by now`);
    case 'name-taken': throw nameTaken();
  }
}

function nameTaken(): HalError {
  return new HalError('Conflict', 'another automation has this name');
}
