import type { StoredSignal } from '../../database/cascade-inputs.ts';
import type { Emission, NeuronSignal } from '../../neurons/layer.ts';
import { LAYERS, type Layer } from '../../schemas/names/layers.ts';

/** A signal of a batch, ready for a layer; or the reason why it is not. */
export type AdmittedSignal = { readonly layer: Layer; readonly signal: NeuronSignal } | { readonly layer: 'L2'; readonly ref: string; readonly cause: string };

/**
 * Makes a stored envelope a neuron's signal, in place: twenty thousand copies a batch would cost more than their evaluation.
 * Attributes named like HAL9's own (`ref`, `timeMs`, `path`, `depth`) are overwritten; `hal9...` ones count only where HAL9 wrote them.
 */
export function admitSignal(stored: StoredSignal): AdmittedSignal {
  const { envelope, ref, delegated } = stored;
  if (envelope === undefined) return { layer: 'L2', ref, cause: 'the stored text is not a JSON object' };
  const time = envelope['time'];
  envelope['ref'] = ref;
  envelope['timeMs'] = typeof time === 'string' ? Date.parse(time) : Number.NaN;
  let layer: Layer = 'L2';
  if (delegated) {
    layer = LAYERS.find((name) => name === envelope['hal9layer']) ?? 'L2';
    envelope['path'] = words(envelope['hal9path']);
    envelope['depth'] = Number(envelope['hal9depth'] ?? 0);
  } else {
    if (envelope['path'] !== undefined) envelope['path'] = undefined;
    if (envelope['depth'] !== undefined) envelope['depth'] = undefined;
  }
  if (!isNeuronSignal(envelope)) return { layer: 'L2', ref, cause: 'the stored text is not a signal with id, source, type and time' };
  return { layer, signal: envelope };
}

function isNeuronSignal(value: Readonly<Record<string, unknown>>): value is NeuronSignal {
  return typeof value['id'] === 'string' && typeof value['source'] === 'string' && typeof value['type'] === 'string' && Number.isFinite(value['timeMs']);
}

function words(value: unknown): string[] {
  return typeof value === 'string' && value !== '' ? value.split(',') : [];
}

/** The signal that a delegation becomes. */
export function delegatedEnvelope(emission: Emission, id: string): Record<string, unknown> {
  return {
    specversion: '1.0',
    id,
    source: `neuron/${emission.neuronName}`,
    type: emission.type,
    time: new Date(emission.timeMs).toISOString(),
    ...(emission.subject === null ? {} : { subject: emission.subject }),
    datacontenttype: 'application/json',
    data: emission.data,
    hal9layer: emission.targetLayer,
    hal9path: emission.path.join(','),
    hal9depth: emission.depth,
    hal9causes: emission.causes.join(','),
  };
}
