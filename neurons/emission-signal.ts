import type { Emission, NeuronSignal } from './layer.ts';

/**
 * The signal that an emission is for the layer it goes to.
 * @param ref the emission's id.
 */
export function signalOfEmission(emission: Pick<Emission, 'neuronName' | 'type' | 'subject' | 'timeMs' | 'severity' | 'data' | 'path' | 'depth' | 'correlationKey'>, ref: string): NeuronSignal {
  return {
    ref,
    id: ref,
    source: `neuron/${emission.neuronName}`,
    type: emission.type,
    ...(emission.subject === null ? {} : { subject: emission.subject }),
    timeMs: emission.timeMs,
    data: emission.data,
    severity: emission.severity,
    correlationkey: emission.correlationKey,
    path: emission.path,
    depth: emission.depth,
  };
}
