import { CAUSES } from '../../schemas/names/remedies.ts';
import { type NeuronDraft, neuronDraftSchema } from '../../schemas/neurons/definition.ts';

/**
 * Neurons for the machine that HAL9 runs on, over the metrics its collector sends once a second (`workers/host/README.md`). Meant to be quiet
 * on a busy but healthy machine: what is reported lasts for seconds, comes from one process, and is large. Thresholds are for machines from two
 * cores and 4 GiB on.
 */

/** The machine a metric is about: the last segment of its source; workers say it in their data. */
const HOST = '(has(signal.data.hostId) ? signal.data.hostId : signal.source.split("/")[1])';
const PROCESS = '"pid": signal.data.?pid.orValue(0.0), "startTicks": signal.data.?startTicks.orValue(0.0), "name": signal.data.?name.orValue("")';
/** Seconds between two reports of a symptom that lasts. */
const REPEAT_SECONDS = 5;

interface Symptom {
  readonly name: string;
  readonly description: string;
  /** Metric type without `hal9.metric.`. */
  readonly metric: string;
  readonly filter?: string;
  /** Members of the emission's data besides host, value and expectation. */
  readonly data?: string;
  readonly detector: Readonly<Record<string, unknown>>;
}

function symptom({ name, description, metric, filter, data = '', detector }: Symptom): NeuronDraft {
  return neuronDraftSchema.parse({
    name,
    description,
    layer: 'L2',
    subscription: { types: [`hal9.metric.${metric}`], ...(filter === undefined ? {} : { filter }) },
    behaviour: {
      kind: 'detector',
      seasonsSeconds: [],
      warmUp: 30,
      refractorySeconds: REPEAT_SECONDS,
      direction: 'up',
      emit: {
        type: `hal9.symptom.${metric}`,
        severity: 'warning',
        subject: `${HOST} + "/${metric}"`,
        correlationKey: HOST,
        data: `{"hostId": ${HOST}${data === '' ? '' : `, ${data}`}}`,
      },
      ...detector,
    },
  });
}

const MIB = 1024 * 1024;

export const HOST_SYMPTOMS: readonly NeuronDraft[] = [
  symptom({
    name: 'host.process-cpu',
    description: 'One and the same process takes half a core more than the busiest process usually does, for ten seconds.',
    metric: 'process.cpu',
    data: PROCESS,
    // Short bursts are everyday life, so that height alone says little: ten seconds of one process do.
    // Threads that wait for a processor count, up to three times what the process got: a hog gets little of a machine that is busy otherwise.
    detector: {
      value: 'min(signal.data.value, 3 * signal.data.?used.orValue(signal.data.value))',
      threshold: 0, minimumDeviation: 0.5, sustainSeconds: 10, sustainGapSeconds: 2.5, sustainedBy: 'string(signal.data.?pid.orValue(0.0))',
    },
  }),
  symptom({
    name: 'host.process-memory',
    description: 'The largest process holds at least 640 MiB more than the largest usually does, for six seconds.',
    metric: 'process.memory',
    data: PROCESS,
    detector: { threshold: 0, minimumDeviation: 640 * MIB, sustainSeconds: 6, sustainGapSeconds: 2.5, sustainedBy: 'string(signal.data.?pid.orValue(0.0))' },
  }),
  symptom({
    name: 'host.memory-available',
    description: 'Less than a twelfth of the memory is available, for five seconds.',
    metric: 'memory.available',
    detector: { value: 'signal.data.ratio', direction: 'down', baseline: false, below: 0.08, sustainSeconds: 5 },
  }),
  symptom({
    name: 'host.disk-temporary',
    description: 'Temporary files grow by 64 MiB beyond what is usual, for three seconds.',
    metric: 'disk.temporary',
    detector: { sustainSeconds: 3, minimumDeviation: 64 * MIB },
  }),
  symptom({
    name: 'host.disk-used',
    description: 'A file system is more than 95 % full.',
    metric: 'disk.used',
    data: '"path": signal.?subject.orValue("")',
    detector: { value: 'signal.data.ratio', baseline: false, above: 0.95, sustainSeconds: 5 },
  }),
  symptom({
    name: 'postgres.blocked',
    description: 'At least two sessions wait for locks, for four seconds.',
    metric: 'postgres.blocked',
    detector: { baseline: false, above: 1.5, sustainSeconds: 4 },
  }),
  symptom({
    name: 'postgres.lock-wait',
    description: 'A session waits longer than five seconds for a lock.',
    metric: 'postgres.lockwait',
    detector: { baseline: false, above: 5 },
  }),
  symptom({
    name: 'host.process-stopped',
    description: 'A process of HAL9 is stopped (SIGSTOP), for three seconds.',
    metric: 'process.stopped',
    data: PROCESS,
    detector: { baseline: false, above: 0.5, sustainSeconds: 3 },
  }),
  symptom({
    name: 'worker.heartbeat',
    description: 'A worker has not sent its heartbeat for ten seconds.',
    metric: 'worker.heartbeat',
    filter: 'has(signal.data.hostId)',
    data: '"worker": signal.source.split("/")[1]',
    detector: { baseline: false, above: 10, sustainSeconds: 2 },
  }),
];

const from = (...metrics: string[]): string => metrics.map((metric) => `signal.type == "hal9.symptom.${metric}"`).join(' || ');
const suspect = '{"pid": signal.data.?pid.orValue(0.0), "startTicks": signal.data.?startTicks.orValue(0.0), "name": signal.data.?name.orValue("")}';

/** One incident per machine at a time; a cause whose symptoms fell silent gives way to one that still speaks. */
export const HOST_INCIDENT: NeuronDraft = neuronDraftSchema.parse({
  name: 'host.incident',
  description: 'Puts the symptoms of one machine into one incident and names its likely cause.',
  layer: 'L3',
  subscription: { types: ['hal9.symptom.*'] },
  behaviour: {
    kind: 'correlator',
    key: 'signal.data.hostId',
    gapSeconds: 10,
    maxSeconds: 1800,
    latenessSeconds: 10,
    settleSeconds: 2,
    activeSeconds: 2 * REPEAT_SECONDS,
    // A cause that explains the others weighs more: writing files or taking memory costs processor time too, waiting sessions do not.
    causes: [
      { cause: CAUSES.workerStopped, weight: 5, when: from('process.stopped', 'worker.heartbeat'), data: suspect },
      { cause: CAUSES.lockPileUp, weight: 4, when: from('postgres.blocked', 'postgres.lockwait') },
      { cause: CAUSES.diskFilling, weight: 3, when: from('disk.temporary', 'disk.used'), data: '{"path": signal.data.?path.orValue("")}' },
      { cause: CAUSES.memoryHog, weight: 2, when: from('process.memory', 'memory.available'), data: suspect },
      { cause: CAUSES.cpuHog, weight: 1, when: from('process.cpu'), data: suspect },
    ],
    emit: { type: 'hal9.incident', severity: 'critical', subject: 'signal.data.hostId', correlationKey: 'signal.data.hostId', data: '{"hostId": signal.data.hostId}' },
  },
});

const remedyInput = (withSuspect: boolean): string => `{
  "incidentId": signal.data.incidentId, "cause": signal.data.cause, "hostId": signal.data.hostId,
  "summary": signal.data.cause + " on " + signal.data.hostId + " since " + signal.data.since,
  "evidence": {"members": signal.data.members, "since": signal.data.since}
  ${withSuspect ? ', "suspect": {"pid": signal.data.causeData.pid, "startTicks": signal.data.causeData.startTicks}' : ''}}`;

const remedyRule = (name: string, when: string, withSuspect: boolean): unknown => ({
  name,
  when: `signal.data.state != "closed" && signal.data.cause != null && ${when}`,
  decide: {
    summary: '"remediate " + signal.data.cause + " on " + signal.data.hostId',
    reason: 'signal.data.members.map(m, m.type.substring(13)).join(", ") + " since " + signal.data.since + ": points to " + signal.data.cause',
    severity: 'critical',
    key: 'signal.data.incidentId + "/" + signal.data.cause',
    cooldownSeconds: 3600,
    operation: { type: 'remediate', input: remedyInput(withSuspect) },
  },
});

/** Starts `remediate` once per incident and cause. */
export const HOST_REMEDY: NeuronDraft = neuronDraftSchema.parse({
  name: 'host.remedy',
  description: 'Decides to mend a machine once the likely cause of its incident is known.',
  layer: 'L4',
  subscription: { types: ['hal9.incident'], filter: 'has(signal.data.hostId)' },
  behaviour: {
    kind: 'rules',
    rules: [
      remedyRule('known process', 'signal.data.causeData.?pid.orValue(0.0) >= 2.0 && signal.data.causeData.?startTicks.orValue(0.0) > 0.0', true),
      remedyRule('no process known', 'true', false),
    ],
  },
});

/** Everything above, lowest layer first. */
export const HOST_NEURONS: readonly NeuronDraft[] = [...HOST_SYMPTOMS, HOST_INCIDENT, HOST_REMEDY];
