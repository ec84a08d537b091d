import { z } from 'zod';
import { isCron } from '../../schemas/schedules/definition.ts';
import { PLAN_NAMES } from '../../schemas/usage/plans.ts';
import { checkTogether } from './cross-field.ts';

/**
 * Every setting of every HAL9 process, one schema. `.env.example` and the reference page are generated from it: the
 * description of a field is its documentation. Settings marked `secret` are never logged.
 */
const text = (description: string) => z.string().min(1).describe(description);
const port = (description: string) => z.coerce.number().int().min(0).max(65_535).describe(description);
const list = (description: string, preset = '') =>
  z.string().default(preset).transform((value) => value.split(',').map((item) => item.trim()).filter(Boolean)).describe(description);
const flag = (description: string) => z.enum(['true', 'false']).transform((value) => value === 'true').describe(description);

export const configSchema = z.object({
  HAL9_DATA: text('Data folder of this machine: embedded database, Temporal file, blobs, content, keys.').default('.hal9'),
  HAL9_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info').describe('Least severe log line written.'),

  DATABASE_URL: text('PostgreSQL as owner of the schema (migrations). Unset: embedded server in the data folder.').meta({ secret: true }).optional(),
  DATABASE_APP_URL: text('PostgreSQL login that may only become hal9_app (row-level security applies). Unset: DATABASE_URL with SET ROLE.').meta({ secret: true }).optional(),
  DATABASE_SYSTEM_URL: text('PostgreSQL login that may only become hal9_system (cross-organisation background work). Unset: DATABASE_URL with SET ROLE.').meta({ secret: true }).optional(),
  DATABASE_TLS_CA: text('PEM file of the authority that signed the database certificate; turns TLS with verification on.').optional(),
  DATABASE_POOL: z.coerce.number().int().min(1).max(200).default(10).describe('Connections each process may open per role; up to 4 more serve what callers wait for.'),

  TEMPORAL_ADDRESS: text('host:port of the Temporal frontend. Unset: dev server with SQLite in the data folder.').optional(),
  TEMPORAL_NAMESPACE: text('Temporal namespace.').default('default'),
  TEMPORAL_TLS_CA: text('PEM file of the authority that signed the Temporal certificate; turns TLS on.').optional(),
  TEMPORAL_TLS_CERT: text('PEM client certificate for mTLS.').optional(),
  TEMPORAL_TLS_KEY: text('PEM client key for mTLS.').optional(),
  TEMPORAL_API_KEY: text('API key of Temporal Cloud.').meta({ secret: true }).optional(),
  TEMPORAL_UI_URL: text('Address of the Temporal UI, for links in answers.').optional(),
  HAL9_TEMPORAL_CLI: text('Path of the `temporal` executable for the embedded server.').optional(),

  HAL9_TEMPORAL_PORT: port('Port of the embedded Temporal server. Unset: 7233, or a free one when that is taken; the choice is remembered in the data folder.').optional(),
  HAL9_TEMPORAL_UI_PORT: port('Port of the embedded Temporal UI. Unset: 8233, or a free one when that is taken.').optional(),
  HAL9_POSTGRES_PORT: port('Port of the embedded PostgreSQL. Unset: 54329, or a free one when that is taken.').optional(),
  HAL9_CORE_WORKERS: z.coerce.number().int().min(1).max(64).default(1).describe('Core worker processes that `npm start` runs.'),

  HAL9_HOST: text('Address the API listens on.').default('127.0.0.1'),
  HAL9_PORT: port('Port of the API. 0 lets `npm start` pick free ports for everything and remember them in the data folder: the way to a second stack.').default(8090),
  HAL9_PUBLIC_URL: text('Address people reach the API at, for links in mails. Default: built from host and port.').optional(),
  HAL9_REGION: z.string().regex(/^[a-z0-9](-?[a-z0-9]){0,39}$/, 'expected lower-case letters, digits and hyphens').default('local').describe('Name of the region this installation stands in, e.g. `eu-1`; sessions of another region are refused.'),
  HAL9_TLS_CERT: text('PEM certificate of the API; reloaded when the file changes. Turns HTTPS and HSTS on.').optional(),
  HAL9_TLS_KEY: text('PEM key of the API.').optional(),
  HAL9_CORS_ORIGINS: z.string().default('').transform((list) => list.split(',').map((origin) => origin.trim()).filter(Boolean)).describe('Comma-separated origins allowed by CORS; empty for none.'),
  HAL9_BODY_LIMIT_BYTES: z.coerce.number().int().min(1024).default(4 * 1024 * 1024).describe('Largest JSON body, bytes; NDJSON streams are bounded by line instead.'),
  HAL9_RATE_LIMIT: z.coerce.number().int().min(0).default(2000).describe('Requests a second for each API key or session, over all API processes; the plan of its organisation may allow less. 0 for no limit but the plan\'s.'),
  HAL9_FAILED_LOGINS: z.coerce.number().int().min(0).default(60).describe('Failed authentications a minute for each address, over all API processes; 0 for no limit.'),
  HAL9_TRUSTED_PROXIES: z.coerce.number().int().min(0).max(10).default(0).describe('Proxies in front of the API whose X-Forwarded-For is believed.'),
  HAL9_TEMPORAL_UI_UPSTREAM: text('Address of a Temporal UI started with the public path /temporal; the API serves it there, behind its session.').optional(),
  HAL9_METRICS_HOST: text('Address a worker or background process serves /metrics and /healthz on; 0.0.0.0 in Kubernetes, where probes and Prometheus come from outside the pod.').default('127.0.0.1'),
  HAL9_METRICS_PORT: port('Port of a worker or background process for /metrics and /healthz; 0 picks a free one.').default(0),

  HAL9_MASTER_KEYS: text('Key ring: comma-separated `id:base64 of 32 bytes`, the first encrypts, all decrypt. Unset: created in the data folder.').meta({ secret: true }).optional(),
  HAL9_AUDIT_SIGNING_KEY: text('Ed25519 seed, base64 of 32 bytes, that signs checkpoints of the audit log. Unset: created in the data folder of the dispatcher.').meta({ secret: true }).optional(),
  HAL9_AUDIT_WITNESS_DIR: text('Folder where the dispatcher keeps every checkpoint of the audit log outside PostgreSQL; on a disk that administrators of the database do not write. Unset: audit-witness in the data folder.').optional(),
  HAL9_AUDIT_PERSONAL_DAYS: z.coerce.number().int().min(1).max(36_500).default(365).describe('Days after which addresses, user agents and typed names in the audit log are erased; the entries stay.'),
  HAL9_AUDIT_CHECK_SECONDS: z.coerce.number().int().min(1).default(3600).describe('Seconds between two checks of the whole audit log against its witness.'),

  HAL9_ALLOW_PRIVATE_ADDRESSES: flag('Whether webhooks, HTTP neurons and connections may reach private and loopback addresses.').default(false),

  HAL9_MAIL_URL: text('Mail server of the installation, for mails about forgotten passwords: smtp://user:password@host:587 (STARTTLS) or smtps://user:password@host:465. Organisations may name a connection of their own instead.').meta({ secret: true }).optional(),
  HAL9_MAIL_FROM: text('Sender address of those mails, e.g. `HAL9 <no-reply@example.com>`.').optional(),

  HAL9_CHAIN_KEYS_DIR: text('Folder of keys of chain signers: <organisation>/<name>, 32 bytes in hexadecimal each. Unset: none.').optional(),

  HAL9_MAPPED_OWNERS: flag('Whether groups of an identity provider may make people owners of their organisation. Otherwise owners are made by owners only.').default(false),

  HAL9_MODELS: z.enum(['live', 'fallback']).default('live').describe('Whether neurons of kind llm ask their models, or decide by their fallback rules alone.'),
  HAL9_MODEL_MONTHLY_USD: z.coerce.number().min(0).max(1e9).describe('US dollars that the models of one organisation may cost in a calendar month (UTC), on top of its own budgets. Unset: no such limit.').optional(),

  HAL9_QUEUES: z.string().default('').transform((list) => list.split(',').map((queue) => queue.trim()).filter(Boolean)).describe('Comma-separated task queues a core worker serves, to scale each alone, e.g. `neurons-l3`; empty for all.'),
  HAL9_INCOMPATIBLE_RUNS: z.enum(['warn', 'refuse']).default('warn').describe('What a worker with a new build does when open runs cannot go on with it: start and name them, or end.'),
  HAL9_OPERATIONS: text('Folder of a project with operations of your own.').optional(),
  HAL9_LANES: z.coerce.number().int().min(1).max(256).default(4).describe('Lanes an organisation\'s signals are spread over; order holds within a lane. Fixed at the first start.'),
  HAL9_LANE_REST_MS: z.coerce.number().int().min(0).max(1000).default(800).describe('Least time from one batch of a lane to its next, milliseconds; the first signal after a pause is taken at once. 0: no rest.'),
  HAL9_BATCH_SIGNALS: z.coerce.number().int().min(1).max(100_000).default(20_000).describe('Most signals one cascade takes.'),
  HAL9_DEDUP_DAYS: z.coerce.number().int().min(1).max(90).default(7).describe('Days within which (organisation, source, id) is accepted once.'),
  HAL9_KEEP_HISTORY_DAYS: z.coerce.number().int().min(1).max(3650).default(90).describe('Days emissions, decisions, dead letters, closed batches, effects that are done, actions of host agents and records of rollouts are kept.'),
  HAL9_KEEP_CALLS_DAYS: z.coerce.number().int().min(1).max(3650).default(30).describe('Days calls of neurons to models and services are kept with their contexts, and what single cascades spent; sums of days and months stay.'),
  HAL9_KEEP_MESSAGES_DAYS: z.coerce.number().int().min(1).max(3650).default(90).describe('Days the record of delivered and failed notifications is kept.'),
  HAL9_KEEP_APPROVALS_DAYS: z.coerce.number().int().min(1).max(3650).default(365).describe('Days closed approvals are kept with their answers.'),
  HAL9_KEEP_SESSIONS_DAYS: z.coerce.number().int().min(1).max(3650).default(30).describe('Days ended sessions are kept.'),
  HAL9_KEEP_EVIDENCE_DAYS: z.coerce.number().int().min(1).max(3650).default(30).describe('Days browser sessions that have ended are kept, with their steps and pictures.'),
  HAL9_DEFAULT_PLAN: z.enum(PLAN_NAMES).default('enterprise').describe('Plan of organisations for which none was set: free, starter, professional, or enterprise, which has no limits.'),
  HAL9_STRIPE_KEY: text('Secret key of Stripe; turns billing on. Restrict it to customers, subscriptions and meter events.').meta({ secret: true }).optional(),
  HAL9_STRIPE_WEBHOOK_SECRET: text('Signing secret of the webhook endpoint that sends to /v1/billing/events.').meta({ secret: true }).optional(),
  HAL9_STRIPE_PRICES: list('Comma-separated `<plan>=<price id>` of the plans that are sold, e.g. `starter=price_1,professional=price_2`.'),
  HAL9_STRIPE_URL: text('Address of a server of the same protocol, for tests. Unset: Stripe itself.').optional(),
  HAL9_HOST_ID: text('Name of this machine in metrics and on its host-<id> queue. Default: the host name.').optional(),
  HAL9_AGENT_ORG: z.uuid().describe('Organisation whose runs the host agent of this machine obeys. Unset: the agent refuses every run.').optional(),
  HAL9_AGENT_ACTIONS: list('Comma-separated actions the host agent may take besides gathering evidence: terminateProcess, killProcess, resumeProcess, restartProcess, terminateBackend, deleteTemporaryFiles.'),
  HAL9_AGENT_APPROVAL: list('Comma-separated actions that wait for a person\'s approval, or `none`.', 'terminateProcess,killProcess,restartProcess,terminateBackend,deleteTemporaryFiles'),
  HAL9_AGENT_PROCESSES: list('Comma-separated texts; a process may be ended only when its command line contains one of them. Empty: none. Never pid 1, the agent, its parents, PostgreSQL, Temporal or HAL9\'s own processes.'),
  HAL9_AGENT_SUPERVISED: list('Comma-separated texts; a process may be resumed or restarted only when its command line contains one of them, and the collector reports those that are stopped.', 'workers/core/main,workers/dispatcher/main,workers/host/main,api/main'),
  HAL9_AGENT_BACKENDS: list('Comma-separated beginnings of application_name; a PostgreSQL session may be ended only when one matches. Empty: none.'),
  HAL9_AGENT_TEMP: text('Folder of temporary files that the collector measures and the agent may clear. Unset: none.').optional(),
  HAL9_AGENT_TEMP_MIN_AGE_SECONDS: z.coerce.number().int().min(0).default(3600).describe('Temporary files younger than this stay.'),
  HAL9_AGENT_TEMP_MARK: text('Ending of the names of temporary files that may be deleted at any age.').optional(),
  HAL9_AGENT_MAX_PER_INCIDENT: z.coerce.number().int().min(0).max(100).default(3).describe('Most actions the agent takes for one incident.'),
  HAL9_AGENT_MAX_PER_HOUR: z.coerce.number().int().min(0).max(1000).default(10).describe('Most actions the agent takes in one hour, all incidents together.'),
  HAL9_AGENT_POSTGRES_URL: text('PostgreSQL the agent watches and mends; a login with pg_monitor and pg_signal_backend. Unset: DATABASE_URL.').meta({ secret: true }).optional(),
  HAL9_BROWSER_SLOTS: z.coerce.number().int().min(1).max(200).default(4).describe('Browser sessions one browser worker works on at once; some 100 MB each.'),
  HAL9_BROWSER_PAGE_MB: z.coerce.number().int().min(128).max(65_536).default(1024).describe('Memory one page may hold, MiB; its process is ended above that, and the session with it.'),
  HAL9_BACKUPS: text('Folder of backups (`base/` and `wal/`, as deploy/recovery writes them) that the recovery worker restores in drills. Unset: drills are refused, and `npm start` runs no recovery worker.').optional(),
  HAL9_RECOVERY_ORG: z.uuid().describe('Organisation whose runs may drill: a drill restores the data of all of them. Unset: the only one there is; with several nobody.').optional(),
  HAL9_DRILL_CRON: text('Cron expression, UTC, by which backups are drilled: the dispatcher keeps the schedule `recovery-drill` in the organisation that may. People can pause and change it like any other; deleted, it comes back. Unset: no schedule.').refine(isCron, 'is no cron expression that Temporal reads').optional(),
  HAL9_RECOVERY_SCRATCH: text('Folder in which drills lay restored databases out, with room for one of them and its WAL. Default: `recovery` in HAL9_DATA.').optional(),
  HAL9_POSTGRES_BIN: text('Folder of the PostgreSQL server that restored databases are started with; of the major version the backups were taken of. Default: the embedded one.').optional(),
  HAL9_CHROMIUM: text('Path of the Chromium that browser sessions run in. Default: the one on PATH, else the one that npm carries.').optional(),
  HAL9_COLLECTOR_KEY: text('API key the collector sends with, scope signals:write. Unset: the collector does not run.').meta({ secret: true }).optional(),
  HAL9_COLLECTOR_URL: text('Address of the API the collector sends to. Default: HAL9_PUBLIC_URL, else built from host and port.').optional(),
  HAL9_COLLECTOR_INTERVAL_MS: z.coerce.number().int().min(100).max(60_000).default(1000).describe('Milliseconds between two readings.'),
  HAL9_COLLECTOR_SCRAPE: list('Comma-separated `<name>=<url>` of Prometheus endpoints to read; names: temporal, api, or worker names.'),
  HAL9_COLLECTOR_QUEUE: z.coerce.number().int().min(100).max(1_000_000).default(50_000).describe('Readings kept while the API is away; the oldest go first.'),
  HAL9_OPERATOR_NAMESPACE: z.string().regex(/^[a-z0-9](-?[a-z0-9])*$/, 'expected the name of a namespace').default('default').describe('Kubernetes namespace the operator runs in; its lease and its certificate are kept there.'),
  HAL9_OPERATOR_WATCH: z.string().regex(/^([a-z0-9](-?[a-z0-9])*)?$/, 'expected the name of a namespace').default('').describe('Kubernetes namespace whose HAL9Cluster objects the operator looks after; empty for all.'),
  HAL9_OPERATOR_ID: text('Name of this operator in the lease; every process needs its own. Default: the host name.').optional(),
  HAL9_OPERATOR_LEASE_SECONDS: z.coerce.number().int().min(3).max(300).default(15).describe('Seconds after which another operator takes over from one that is silent.'),
  HAL9_OPERATOR_RELIST_SECONDS: z.coerce.number().int().min(1).max(3600).default(300).describe('Seconds between two complete readings of everything the operator watches.'),
  HAL9_OPERATOR_WEBHOOK_PORT: port('Port of the admission webhook. Unset: no webhook, and what it would refuse shows in the status of the object only.').optional(),
  HAL9_OPERATOR_WEBHOOK_NAME: text('ValidatingWebhookConfiguration that gets the authority of the webhook.').default('hal9-operator'),
  HAL9_OPERATOR_WEBHOOK_HOSTS: list('Comma-separated host names and addresses the certificate of the webhook is for.', 'localhost,127.0.0.1'),

  HAL9_OTLP_URL: text('OTLP/HTTP endpoint for traces, e.g. http://127.0.0.1:4318. Unset: no export.').optional(),
}).superRefine(checkTogether);

export type Config = z.output<typeof configSchema>;

/**
 * Reads the settings.
 * @param env variables, as in `process.env`.
 * @throws {ConfigError} naming each wrong variable and what it expects; never its value.
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const known = Object.fromEntries(Object.keys(configSchema.shape).map((key) => [key, env[key] === '' ? undefined : env[key]]));
  const parsed = configSchema.safeParse(known);
  if (!parsed.success) {
    throw new ConfigError(parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${expectation(issue)}`).join('; '));
  }
  return parsed.data;
}

/** What a setting should have been. zod's own words for a wrong number speak of NaN. */
function expectation(issue: z.core.$ZodIssue): string {
  return issue.code === 'invalid_type' && issue.expected === 'number' ? 'expected a number' : issue.message;
}

/** A setting is missing or wrong. The message names it and what it expects, never its value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}
