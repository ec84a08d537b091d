import { z } from 'zod';
import { memoryKind, memoryTopic } from '../memories/definition.ts';
import { LAYERS } from '../names/layers.ts';

/**
 * What neurons are. Every expression is CEL (https://cel.dev), evaluated over the variable `signal`
 * `{id, source, type, subject, time (RFC 3339 string), timeMs (number), data, layer, ...extensions}`; emissions of a lower layer
 * arrive as signals too (`source` = `neuron/<name>`). Numbers of JSON are CEL doubles.
 */
const cel = z.string().min(1).max(4096);
/** A CEL expression that answers a map. */
const celMap = cel;
const name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,127}$/, 'use lower-case letters, digits, dots, dashes');

/** Which signals of its layer a neuron sees. */
export const subscriptionSchema = z.object({
  /** Exact types, or prefixes ending in `.*`; `*` is all. */
  types: z.array(z.string().min(1).max(256)).min(1).max(100),
  /** Exact sources, or prefixes ending in `*`; missing is all. */
  sources: z.array(z.string().min(1).max(512)).max(100).optional(),
  /** CEL over `signal`; evaluated after types and sources matched. */
  filter: cel.optional(),
});

export const SEVERITIES = ['info', 'warning', 'critical'] as const;

/** Passes something to the next layer up. */
export const emitSchema = z.object({
  type: z.string().min(1).max(256),
  subject: cel.optional(),
  /** Signals with the same key meet in one correlator lane of the next layer; default: the subject or source. */
  correlationKey: cel.optional(),
  data: celMap.optional(),
  severity: z.enum(SEVERITIES).default('info'),
});

/** Sends a task down to a lower layer. */
export const delegateSchema = z.object({
  layer: z.enum(['L2', 'L3']),
  type: z.string().min(1).max(256),
  subject: cel.optional(),
  data: celMap.optional(),
});

const names = z.array(z.string().min(1).max(200)).max(50).default([]);

/** Who may approve: people who have one of the roles, are in one of the teams (or one below it), or are named. */
export const approversSchema = z
  .object({ roles: names, teams: z.array(z.uuid()).max(50).default([]), users: z.array(z.uuid()).max(50).default([]) })
  .refine(({ roles, teams, users }) => roles.length + teams.length + users.length > 0, 'name a role, a team or a user');

/** A wait for people before the decision's effect leaves. */
export const approvalRuleSchema = z.object({
  /** Permission the approver needs. */
  permission: z.string().default('approvals:write'),
  required: z.int().min(1).max(10).default(1),
  /** Seconds; afterwards the step is refused. */
  deadlineSeconds: z.int().min(1).max(30 * 86_400).default(86_400),
  /** Who may answer besides having the permission; default: whoever has it. */
  approvers: approversSchema.optional(),
  /** Whether who started the run that asks may approve, too; default false. */
  allowRequester: z.boolean().optional(),
  /** Whether messages carry a link that answers without signing in; default: only while no approvers are named, for a link cannot tell who uses it. */
  links: z.boolean().optional(),
  /** Whom to turn to when it still waits after a while; `approvers` may answer from then on, too. */
  escalation: z.object({ afterSeconds: z.int().min(1).max(30 * 86_400), connection: z.string().min(1).max(128), approvers: approversSchema.optional() }).optional(),
});

/** A decision, with what follows from it. */
export const decideSchema = z.object({
  /** CEL string: what was decided, in one line. */
  summary: cel,
  /** CEL string: why. */
  reason: cel,
  severity: z.enum(SEVERITIES).default('info'),
  /** CEL string: decisions of one neuron with the same key within `cooldownSeconds` are one. Default: no such limit. */
  key: cel.optional(),
  cooldownSeconds: z.int().min(0).max(86_400).default(0),
  /** Starts an operation; `input` is a CEL map. */
  operation: z.object({ type: z.string(), input: celMap }).optional(),
  /** Sends a message through a connection. */
  notify: z.object({ connection: z.string(), title: cel, message: cel }).optional(),
  approval: approvalRuleSchema.optional(),
});

export const ruleSchema = z.object({
  name: z.string().max(128).optional(),
  /** CEL condition. */
  when: cel,
  emit: emitSchema.optional(),
  delegate: delegateSchema.optional(),
  decide: decideSchema.optional(),
}).refine((rule) => rule.emit ?? rule.delegate ?? rule.decide, 'a rule needs emit, delegate or decide');

export const rulesSchema = z.object({
  kind: z.literal('rules'),
  rules: z.array(ruleSchema).min(1).max(200),
  /** Whether later rules still run once one matched. */
  match: z.enum(['first', 'all']).default('first'),
});

export const detectorSchema = z.object({
  kind: z.literal('detector'),
  /** CEL number; default `signal.data.value`. */
  value: cel.default('signal.data.value'),
  /** CEL string that names the series; one bounded state each. Default: source, type and subject. */
  series: cel.optional(),
  /** Seasonal periods in seconds that the baseline may learn; `[]` for none. Each costs up to 3 KB a series. */
  seasonsSeconds: z.array(z.number().positive()).max(4).default([86_400, 604_800]),
  /** Readings before anything is reported; what is unusual already then is not reported while it lasts. */
  warmUp: z.int().min(1).max(100_000).default(600),
  /** Anomaly likelihood in [0, 1) from which a reading is unusual; at 0 `minimumDeviation` alone decides. */
  threshold: z.number().min(0).lt(1).default(0.9998),
  /** Seconds after a report in which the same series stays quiet. */
  refractorySeconds: z.number().min(0).default(0),
  /** Which side matters. */
  direction: z.enum(['both', 'up', 'down']).default('both'),
  /** A reading closer to the expected value than this is never unusual; in units of the value. */
  minimumDeviation: z.number().min(0).default(0),
  /** Fixed limits: a reading beyond one counts as unusual whatever the baseline says, also during warm-up. In units of the value. */
  above: z.number().optional(),
  below: z.number().optional(),
  /** Whether the learned baseline counts; false leaves the fixed limits alone. */
  baseline: z.boolean().default(true),
  /** Seconds of event time for which every reading must be unusual before one is reported. */
  sustainSeconds: z.number().min(0).default(0),
  /** CEL string, e.g. a process id: unusual readings in a row must agree in it, or their time starts anew. */
  sustainedBy: cel.optional(),
  /** Interruptions up to so many seconds of event time do not start the time anew. */
  sustainGapSeconds: z.number().min(0).default(0),
  emit: emitSchema.default({ type: 'hal9.anomaly', severity: 'warning' }),
});

export const correlatorSchema = z.object({
  kind: z.literal('correlator'),
  /** CEL string; members with the same key form a group. Default `"all"`: one group per neuron. */
  key: cel.default('"all"'),
  /** A group that heard nothing for so long (event time, seconds) closes. */
  gapSeconds: z.number().positive().default(30),
  /** A group closes at this age whatever comes, seconds. */
  maxSeconds: z.number().positive().default(3600),
  /** Event-time lateness still accepted, seconds; later members are counted and dropped. */
  latenessSeconds: z.number().min(0).default(5),
  /**
   * Whose event time closes groups: the whole layer's, so that a group closes though nothing more comes for it, or only that of its own key, for
   * replayed history whose series lie in different years. Default: the layer's.
   */
  clock: z.enum(['layer', 'key']).default('layer'),
  /** Seconds (event time) after the first member before the group opens, so that the likely cause is known. */
  settleSeconds: z.number().min(0).default(3),
  /** Distinct members (by `member`) needed to open. */
  minMembers: z.int().min(1).default(1),
  /** CEL string that tells members apart; default the signal's subject. */
  member: cel.optional(),
  /** Ranked by the sum of weights over the members that match; the first with the highest sum is the likely cause. */
  causes: z.array(z.object({ cause: z.string(), when: cel, weight: z.number().positive().default(1), data: celMap.optional() })).max(100).default([]),
  /** A member silent for so long (event time, seconds) no longer speaks for a cause; default: every member does until the group closes. */
  activeSeconds: z.number().positive().optional(),
  /** Emitted when the group opens, again when its likely cause changes (`data.state` = `opened` | `updated` | `closed`). */
  emit: emitSchema.default({ type: 'hal9.incident', severity: 'warning' }),
});

/** Limits of calls that cost money; checked before each call, settled after it. */
export const spendLimitSchema = z.object({
  calls: z.int().min(0).optional(),
  tokens: z.int().min(0).optional(),
  /** US dollars. */
  usd: z.number().min(0).optional(),
});

/**
 * What of the organisation's memory a neuron reads before it asks: CEL sees it as `memory` `{items: [{kind, topic, content, weight, time}], weight}`, newest
 * first; `weight` is the sum over all that match, in nats.
 */
export const recallSchema = z.object({
  topic: memoryTopic,
  kind: memoryKind.optional(),
  /** CEL string `kind:value`, e.g. `"host:" + signal.subject`; default: memories that are about nobody. */
  subject: cel.optional(),
  limit: z.int().min(1).max(50).default(10),
});

export const llmSchema = z.object({
  kind: z.literal('llm'),
  /** Name of the connection that holds provider, key and address. */
  connection: z.string(),
  model: z.string(),
  system: z.string().max(32_768),
  recall: recallSchema.optional(),
  /** CEL string; sees `signal`, and `memory` where the neuron recalls. */
  prompt: cel,
  /** JSON Schema (2020-12) of the structured answer; bound as `answer` in the rules that follow it. */
  answer: z.record(z.string(), z.unknown()),
  maxOutputTokens: z.int().min(1).max(100_000).default(1024),
  timeoutSeconds: z.number().positive().max(600).default(60),
  /** Price in US dollars per million tokens, for budgets. */
  price: z.object({ input: z.number().min(0), output: z.number().min(0) }),
  /** Limit of one cascade; the organisation's limit is a budget of its own. */
  perCascade: spendLimitSchema.default({}),
  /** What follows from the answer; CEL sees `signal` and `answer`. */
  rules: z.array(ruleSchema).min(1).max(50),
  /** Used when the provider is down, the breaker open or the budget used up; CEL sees `signal`. */
  fallback: z.array(ruleSchema).max(50).default([]),
});

export const httpSchema = z.object({
  kind: z.literal('http'),
  /** Connection whose headers are added; optional. */
  connection: z.string().optional(),
  url: z.url({ protocol: /^https?$/ }),
  method: z.enum(['GET', 'POST', 'PUT']).default('POST'),
  recall: recallSchema.optional(),
  /** CEL map sent as JSON; sees `signal`, and `memory` where the neuron recalls. Default the signal. */
  body: celMap.optional(),
  timeoutSeconds: z.number().positive().max(120).default(10),
  /** CEL sees `signal` and `answer` `{status, body}`. */
  rules: z.array(ruleSchema).min(1).max(50),
  fallback: z.array(ruleSchema).max(50).default([]),
});

export const neuronBehaviourSchema = z.discriminatedUnion('kind', [rulesSchema, detectorSchema, correlatorSchema, llmSchema, httpSchema]);

/** Opens after `failures` in a row, half-opens after `resetSeconds`. */
export const breakerSchema = z.object({ failures: z.int().min(1).default(5), resetSeconds: z.number().positive().default(30) });

/** What people create and change over REST. */
export const neuronDraftSchema = z.object({
  name,
  description: z.string().max(2000).default(''),
  layer: z.enum(LAYERS),
  subscription: subscriptionSchema,
  behaviour: neuronBehaviourSchema,
  enabled: z.boolean().default(true),
  /** At most so many emissions and decisions for one signal; more is a failure of that signal. */
  fanOut: z.int().min(1).max(1000).default(10),
  breaker: breakerSchema.default({ failures: 5, resetSeconds: 30 }),
});

export type NeuronDraft = z.infer<typeof neuronDraftSchema>;
export type NeuronBehaviour = z.infer<typeof neuronBehaviourSchema>;
export type RulesBehaviour = z.infer<typeof rulesSchema>;
export type DetectorBehaviour = z.infer<typeof detectorSchema>;
export type CorrelatorBehaviour = z.infer<typeof correlatorSchema>;
export type LlmBehaviour = z.infer<typeof llmSchema>;
export type HttpBehaviour = z.infer<typeof httpSchema>;
export type Rule = z.infer<typeof ruleSchema>;
export type ApprovalRule = z.infer<typeof approvalRuleSchema>;
export type Approvers = z.infer<typeof approversSchema>;
export type Severity = (typeof SEVERITIES)[number];

/** A stored neuron at one version. */
export interface Neuron extends NeuronDraft {
  readonly id: string;
  readonly version: number;
}
