import { z } from 'zod';
import { LAYERS } from '../names/layers.ts';
import { neuronDraftSchema } from '../neurons/definition.ts';
import { signalSchema } from '../signals/signal.ts';
import { pageQuery } from './page.ts';

export const neuronView = neuronDraftSchema
  .extend({
    id: z.uuid(),
    version: z.int().describe('Grows with every change; send it back in If-Match.'),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'Neuron' });

/** One neuron alone also says how its calls fare. */
export const neuronDetail = neuronView
  .extend({
    circuit: z
      .object({
        state: z.enum(['closed', 'open', 'half-open']).describe('`open`: calls are not made and the fallback rules run; `half-open`: the next call tries.'),
        failures: z.int().describe('Failures in a row.'),
        openedAt: z.iso.datetime().nullable(),
        retryAt: z.iso.datetime().nullable(),
        lastFailure: z.string().nullable(),
      })
      .nullable()
      .describe('Circuit breaker of an llm or http neuron; null for the other kinds.'),
  })
  .meta({ id: 'NeuronDetail' });

export const neuronVersionView = z.object({
  version: z.int(),
  neuron: neuronDraftSchema,
  createdAt: z.iso.datetime(),
  createdBy: z.string().describe('Id of the API key, or name of the process.'),
});

export const neuronParams = z.object({ id: z.uuid() });

export const neuronQuery = pageQuery.extend({
  layer: z.enum(LAYERS).optional(),
  kind: z.enum(['rules', 'detector', 'correlator', 'llm', 'http']).optional(),
  enabled: z.enum(['true', 'false']).optional(),
});

/** A JSON merge patch (RFC 7396) of a neuron: members that are null are removed, objects are merged, everything else replaces. */
export const neuronPatch = z.record(z.string(), z.unknown());

/** A signal to try a neuron on; what is left out gets a stand-in. */
const sampleSignal = signalSchema.extend({
  specversion: z.literal('1.0').default('1.0'),
  id: z.string().min(1).max(256).optional(),
  source: z.string().min(1).max(512).default('test'),
});

const samples = {
  signals: z.array(sampleSignal).min(1).max(1000).describe('In order; a neuron with state sees them one after the other, from nothing.'),
  answer: z.unknown().optional().describe('For llm and http neurons: the answer to try their rules on. Without it the fallback rules run.'),
};

export const neuronTestBody = z.object({ neuron: neuronDraftSchema, ...samples });
export const storedNeuronTestBody = z.object(samples);

export const neuronTestResult = z
  .object({
    emissions: z.array(z.object({ signal: z.int().nullable().describe('Position in `signals` of its latest cause; null for a window that closed.'), type: z.string(), targetLayer: z.enum(LAYERS), direction: z.enum(['up', 'down']), subject: z.string().nullable(), correlationKey: z.string(), severity: z.string(), data: z.unknown() })),
    decisions: z.array(z.object({ signal: z.int().nullable(), summary: z.string(), reason: z.string(), severity: z.string(), key: z.string().nullable(), operation: z.unknown(), notify: z.unknown(), approval: z.unknown() })),
    failures: z.array(z.object({ signal: z.int().nullable(), cause: z.string() })),
    evaluations: z.int().describe('Signals the neuron was evaluated on.'),
    externalCalls: z.int().describe('Calls it would make; a test makes none.'),
  })
  .meta({ id: 'NeuronTestResult' });
export type NeuronTestResult = z.infer<typeof neuronTestResult>;
