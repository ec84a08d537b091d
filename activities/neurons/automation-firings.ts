import { hash } from 'node:crypto';
import type { NewFiring } from '../../database/automation-firings.ts';
import { type AutomationOutcome, partitionKeyOf } from '../../neurons/automation.ts';
import { AUTOMATION_SOURCE } from '../../schemas/automations/definition.ts';
import type { NeuronSignal } from '../../neurons/layer.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Rows of what automations made of a batch: one for each signal that fires, and one for all signals that one automation passed over
 * or failed on for the same reason.
 */
export function firingsOf(batchId: string, outcomes: readonly AutomationOutcome[]): NewFiring[] {
  const fired: NewFiring[] = [];
  const passed = new Map<string, NewFiring>();
  for (const { automation, signal, verdict } of outcomes) {
    if (verdict.kind === 'fire') {
      fired.push({
        ...rowOf(derivedId(`${automation.id}/${signal.ref}`), { automation, signal }),
        state: 'pending',
        reason: null,
        effect: verdict.effect,
        orderKey: orderKey(partitionKeyOf(signal)),
        traceparent: typeof signal['traceparent'] === 'string' ? signal['traceparent'] : null,
        parentId: signal.source.startsWith(AUTOMATION_SOURCE) && UUID.test(signal.id) ? signal.id : null,
      });
      continue;
    }
    const key = `${automation.id}/${verdict.kind}/${verdict.reason}`;
    const known = passed.get(key);
    if (known === undefined) {
      const state = verdict.kind === 'skip' ? 'skipped' : 'failed';
      passed.set(key, { ...rowOf(derivedId(`${batchId}/${key}`), { automation, signal }), state, reason: verdict.reason, effect: null, orderKey: 0, traceparent: null, parentId: null });
    } else {
      passed.set(key, { ...known, signals: known.signals + 1 });
    }
  }
  return [...fired, ...passed.values()];
}

function rowOf(id: string, { automation, signal }: { automation: AutomationOutcome['automation']; signal: NeuronSignal }) {
  return { id, automationId: automation.id, automationVersion: automation.version, signalKey: signal.ref, signalType: signal.type, signals: 1 };
}

/** The first 16 bytes of SHA-256, as a UUID of version 8 (RFC 9562): the same automation and signal give the same firing. */
function derivedId(text: string): string {
  const hex = hash('sha256', text, 'hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** FNV-1a (32 bit) over UTF-16 code units, signed: two keys that share it only wait for each other. */
function orderKey(partitionKey: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < partitionKey.length; index++) value = Math.imul(value ^ partitionKey.charCodeAt(index), 0x01000193);
  return value | 0;
}
