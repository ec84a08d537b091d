import { randomBytes } from 'node:crypto';
import type { DueFiring, FiringStore } from '../../database/automation-firings.ts';
import type { AutomationStore, StoredAutomation } from '../../database/automations.ts';
import type { SignalStore } from '../../database/signals.ts';
import { AUTOMATION_SOURCE, type MappedEffect } from '../../schemas/automations/definition.ts';
import { HalError } from '../../schemas/errors.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import { actOf } from '../audit/act.ts';
import { toHalError } from '../failures/translate.ts';
import { systemCaller, type Caller } from '../identity/caller.ts';
import type { OperationsPort } from '../operations/contract.ts';
import { uuidText } from '../signals/key.ts';
import type { LaneChooser } from '../signals/lane.ts';
import { prepareValue } from '../signals/prepare.ts';
import { permissionOf, refusalOf } from './owner.ts';
import type { OwnerStandings } from './standing.ts';

/** Times an automation may stand in the chain that led to its own signal before it is paused. */
export const LOOP_LIMIT = 3;
/** Longest chain of automations, whichever they are. */
export const CHAIN_LIMIT = 32;

export interface EffectDependencies {
  readonly automations: AutomationStore;
  readonly firings: FiringStore;
  readonly standings: Pick<OwnerStandings, 'of'>;
  readonly signals: Pick<SignalStore, 'commit'>;
  readonly operations: Pick<OperationsPort, 'start'>;
  readonly contracts: ReadonlyMap<string, OperationContract>;
  readonly lanes: LaneChooser;
}

/** How an attempt at an effect ended. `blocked` keeps its place, and those after it of the same key theirs. */
export type EffectOutcome = { readonly kind: 'settled'; readonly state: 'fired' | 'skipped' | 'failed' } | { readonly kind: 'blocked'; readonly reason: string; readonly afterSeconds: number | undefined };

/** Lets the effect of a firing leave, under the firing's id, after asking again whether it may. */
export class FiringEffects {
  readonly #parts: EffectDependencies;

  constructor(parts: EffectDependencies) {
    this.#parts = parts;
  }

  /** @throws whatever PostgreSQL says when the outcome cannot be stored: the firing is then tried again. */
  async leave(firing: DueFiring): Promise<EffectOutcome> {
    const { orgId, id } = firing;
    const automation = await this.#parts.automations.find(orgId, firing.automationId);
    const standing = whyNot(automation);
    if (standing !== undefined || automation === undefined) return this.#settle(firing, 'skipped', standing ?? '');
    if (loops(firing)) return this.#pause(firing, 'failed', await this.#loopInWords(firing, automation));
    try {
      const needed = permissionOf(firing.effect, this.#parts.contracts);
      const refusal = refusalOf(automation.owner, await this.#parts.standings.of(orgId, automation.owner), needed);
      if (refusal !== undefined) return await this.#pause(firing, 'skipped', refusal);
      const came = await this.#act(firing, automation);
      await this.#parts.firings.settle(orgId, id, { state: 'fired', ...came });
      return { kind: 'settled', state: 'fired' };
    } catch (thrown) {
      const error = toHalError(thrown);
      const reason = `${error.type}: ${error.message}`;
      return error.failure.retryable ? { kind: 'blocked', reason, afterSeconds: error.retryAfterSeconds } : await this.#settle(firing, 'failed', reason);
    }
  }

  async #act(firing: DueFiring, { owner }: StoredAutomation): Promise<{ runId: string } | { emittedKey: string }> {
    const { orgId, id, effect } = firing;
    const traceparent = `00-${id.replaceAll('-', '')}-${randomBytes(8).toString('hex')}-01`;
    if (effect.kind === 'operation') {
      const caller: Caller = { orgId, actor: { kind: actorKind(owner.kind), id: owner.id }, scopes: owner.scopes, requestId: id, traceparent };
      const { runId } = await this.#parts.operations.start(caller, { operation: effect.operation, input: effect.input, uuid: id, origin: 'automation' });
      return { runId };
    }
    return { emittedKey: await this.#send(firing, effect, traceparent) };
  }

  /** The new signal's (source, id) is made of the firing, so a second try is a duplicate. */
  async #send(firing: DueFiring, effect: Extract<MappedEffect, { kind: 'signal' }>, traceparent: string): Promise<string> {
    const { orgId, id, automationId, createdAt } = firing;
    const signal = {
      specversion: '1.0',
      id,
      source: `${AUTOMATION_SOURCE}${automationId}`,
      type: effect.type,
      time: createdAt.toISOString(),
      ...(effect.subject === null ? {} : { subject: effect.subject }),
      datacontenttype: 'application/json',
      partitionkey: effect.partitionKey,
      traceparent,
      data: effect.data,
    };
    const prepared = prepareValue(signal, { orgId, lanes: this.#parts.lanes, receivedAt: signal.time, defaultSpecversion: false });
    if (prepared.row === undefined) throw new HalError('InvalidInput', 'the signal it would send does not match the schema', { errors: prepared.errors });
    await this.#parts.signals.commit({ orgId, rows: [prepared.row], traceparent });
    return uuidText(prepared.row.key);
  }

  async #settle({ orgId, id }: DueFiring, state: 'skipped' | 'failed', reason: string): Promise<EffectOutcome> {
    await this.#parts.firings.settle(orgId, id, { state, reason });
    return { kind: 'settled', state };
  }

  async #pause({ orgId, id, automationId }: DueFiring, state: 'skipped' | 'failed', reason: string): Promise<EffectOutcome> {
    const act = actOf(systemCaller(orgId, 'dispatcher'), 'automation.pause', { kind: 'automation', id: automationId }, { firing: id, loop: state === 'failed' });
    await this.#parts.automations.pause(orgId, automationId, reason, { id, state }, act);
    return { kind: 'settled', state };
  }

  async #loopInWords({ orgId, chain }: DueFiring, automation: StoredAutomation): Promise<string> {
    const names = await this.#parts.automations.names(orgId, chain);
    const way = [...chain.map((id) => names.get(id) ?? 'a deleted automation'), automation.draft.name];
    return `it set itself off again and again: ${way.slice(-12).join(' -> ')}`;
  }
}

function whyNot(automation: StoredAutomation | undefined): string | undefined {
  if (automation === undefined) return 'the automation was deleted';
  if (automation.pausedAt !== null) return 'the automation was paused';
  return automation.draft.enabled ? undefined : 'the automation was switched off';
}

function loops({ chain, automationId }: DueFiring): boolean {
  return chain.length >= CHAIN_LIMIT || chain.filter((id) => id === automationId).length >= LOOP_LIMIT;
}

function actorKind(kind: string): Caller['actor']['kind'] {
  return kind === 'api-key' || kind === 'user' || kind === 'service' ? kind : 'system';
}
