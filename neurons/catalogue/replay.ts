import { type NeuronDraft, neuronDraftSchema } from '../../schemas/neurons/definition.ts';

/** Type of the signals that replay a labelled series; their source is `series/<group>/<file>`. */
export const SERIES_VALUE_TYPE = 'hal9.series.value';

/**
 * The fixed neurons for replaying labelled series: no parameter depends on the file. One incident gathers the anomalies of one series.
 */
export const REPLAY_NEURONS: readonly NeuronDraft[] = [
  {
    name: 'series.anomaly',
    description: 'Reports readings that are unlikely for their series; at most once an hour while it lasts; else the default parameters.',
    layer: 'L2',
    subscription: { types: [SERIES_VALUE_TYPE] },
    behaviour: { kind: 'detector', refractorySeconds: 3600, emit: { type: 'hal9.series.anomaly', severity: 'warning', subject: 'signal.source' } },
  },
  {
    name: 'series.incident',
    description: 'Puts the anomalies of one series that follow each other within a day into one incident.',
    layer: 'L3',
    subscription: { types: ['hal9.series.anomaly'] },
    behaviour: {
      kind: 'correlator',
      key: 'signal.subject',
      clock: 'key',
      gapSeconds: 86_400,
      maxSeconds: 7 * 86_400,
      latenessSeconds: 0,
      settleSeconds: 0,
      causes: [{ cause: 'series-anomaly', when: 'true', data: '{"value": signal.data.value, "expected": signal.data.expected}' }],
      emit: { type: 'hal9.incident', severity: 'warning', subject: 'signal.subject' },
    },
  },
  {
    name: 'series.decision',
    description: 'Records each incident of a series as a decision.',
    layer: 'L4',
    subscription: { types: ['hal9.incident'], filter: 'signal.source == "neuron/series.incident"' },
    behaviour: {
      kind: 'rules',
      rules: [{
        when: 'signal.data.state == "opened"',
        decide: {
          summary: '"anomaly in " + signal.subject',
          reason: '"unlikely readings since " + signal.data.since',
          severity: 'warning',
          key: 'signal.data.incidentId',
          cooldownSeconds: 3600,
        },
      }],
    },
  },
].map((draft) => neuronDraftSchema.parse(draft));
