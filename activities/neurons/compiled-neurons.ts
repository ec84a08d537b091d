import type pg from 'pg';
import { readActiveAutomations } from '../../database/automations.ts';
import { readEnabledNeurons } from '../../database/cascade-inputs.ts';
import { AutomationSet } from '../../neurons/automation.ts';
import { compileLayer } from '../../neurons/compile-layer.ts';
import { type ExternalNeuron, isExternal } from '../../neurons/external.ts';
import type { LayerEvaluator } from '../../neurons/layer.ts';
import { LAYERS, type Layer } from '../../schemas/names/layers.ts';

/** An organisation's neurons at one generation, compiled. */
export interface CompiledNeurons {
  readonly generation: number;
  readonly layers: Readonly<Record<Layer, LayerEvaluator>>;
  /** Layer of each enabled neuron, by id. */
  readonly layerOf: ReadonlyMap<string, Layer>;
  readonly external: ReadonlyMap<string, ExternalNeuron>;
  /** What looks at the signals of L2 beside the neurons. */
  readonly automations: AutomationSet;
}

/** Organisations whose neurons one thread keeps compiled; the least recently used goes first. */
const KEPT_ORGANISATIONS = 100;

/** Compiles once a generation: `neuron_generations` grows with every change of an organisation's neurons and automations. */
export class NeuronCache {
  readonly #byOrg = new Map<string, CompiledNeurons>();

  /** @param generation as read in the caller's transaction. */
  async get(client: pg.ClientBase, orgId: string, generation: number): Promise<CompiledNeurons> {
    const known = this.#byOrg.get(orgId);
    this.#byOrg.delete(orgId);
    const current = known?.generation === generation ? known : await compileNeurons(client, generation);
    this.#byOrg.set(orgId, current);
    if (this.#byOrg.size > KEPT_ORGANISATIONS) {
      const oldest = this.#byOrg.keys().next().value;
      if (oldest !== undefined) this.#byOrg.delete(oldest);
    }
    return current;
  }
}

async function compileNeurons(client: pg.ClientBase, generation: number): Promise<CompiledNeurons> {
  const neurons = await readEnabledNeurons(client);
  const layer = (name: Layer): LayerEvaluator => compileLayer(name, neurons);
  return {
    generation,
    layers: { L2: layer('L2'), L3: layer('L3'), L4: layer('L4') },
    layerOf: new Map(neurons.map((neuron) => [neuron.id, neuron.layer])),
    external: new Map(neurons.filter(isExternal).map((neuron) => [neuron.id, neuron])),
    automations: new AutomationSet(await readActiveAutomations(client)),
  };
}

/** The layers above, lowest first. */
export function layersAbove(layer: Layer): readonly Layer[] {
  return LAYERS.slice(LAYERS.indexOf(layer) + 1);
}
