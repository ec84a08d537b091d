import { isIP } from 'node:net';
import { callbackify } from 'node:util';
import { Admin, Consumer, kMetadata, MultipleErrors, parseBroker, Producer, ProtocolError, UserError, type Base, type BaseOptions, type Broker, type ClusterMetadata } from '@platformatic/kafka';
import type { KafkaSettings } from '../../schemas/rest/connections.ts';
import { AddressRefused, type Egress } from './egress.ts';
import { explainFailure, type OutsideFailure } from './failure.ts';

const CLIENT_ID = 'hal9';
const DEFAULT_PORT = 9092;
/** Time a member of a group may be silent, and time the others have to join anew, ms. */
const SESSION_MS = 6_000;
const REBALANCE_MS = 30_000;
const HEARTBEAT_MS = 2_000;
/** Longest a broker waits for something to send, ms; how long a stream may take to end. */
const FETCH_WAIT_MS = 500;
const FETCH_BYTES = 8 * 1024 * 1024;

/** Clients of one cluster, which reach only addresses that were checked. The caller closes each it makes. */
export interface KafkaClients {
  readonly admin: () => Admin;
  readonly consumer: (group: string) => Consumer;
  /** Waits for every replica that is in sync; what it sends again counts once. */
  readonly producer: () => Producer;
}

/**
 * Brokers are told by the cluster itself, so their addresses are checked whenever it tells them: a name is looked up, and the address it had
 * then is what is connected to; with TLS, where the name must stay, the very lookup of the socket is checked.
 * @throws {AddressRefused} when a broker that the settings name is not to be reached.
 */
export async function connectKafka(egress: Egress, settings: KafkaSettings, timeoutMs: number): Promise<KafkaClients> {
  const { tls, ca, mechanism, username, password } = settings;
  const bootstrap = await Promise.all(settings.brokers.map((text) => checked(egress, parseBroker(text, DEFAULT_PORT), tls)));
  const options: BaseOptions = {
    clientId: CLIENT_ID,
    bootstrapBrokers: bootstrap,
    connectTimeout: timeoutMs,
    requestTimeout: timeoutMs * 2,
    timeout: timeoutMs,
    retries: 1,
    autocreateTopics: false,
    ...(tls ? { tls: { lookup: egress.lookup, ...(ca === undefined ? {} : { ca }) }, tlsServerName: bootstrap.every(({ host }) => isIP(host) === 0) } : {}),
    ...(username === undefined || password === undefined ? {} : { sasl: { mechanism: MECHANISMS[mechanism], username, password } }),
  };
  const guarded = <Client extends Base>(client: Client): Client => {
    guard(egress, client, tls);
    return client;
  };
  return {
    admin: () => guarded(new Admin(options)),
    consumer: (groupId) =>
      guarded(new Consumer({ ...options, groupId, sessionTimeout: SESSION_MS, rebalanceTimeout: REBALANCE_MS, heartbeatInterval: HEARTBEAT_MS, maxWaitTime: FETCH_WAIT_MS, maxBytes: FETCH_BYTES, autocommit: false })),
    producer: () => guarded(new Producer({ ...options, acks: -1, idempotent: true })),
  };
}

const MECHANISMS = { plain: 'PLAIN', 'scram-sha-256': 'SCRAM-SHA-256', 'scram-sha-512': 'SCRAM-SHA-512' } as const;

/** Every client finds its brokers through this one method. */
function guard(egress: Egress, client: Base, tls: boolean): void {
  const ask = client[kMetadata].bind(client);
  client[kMetadata] = (options, callback) => {
    ask(options, (error, metadata) => {
      if (error !== null || metadata === undefined) return callback(error, metadata);
      check(egress, metadata, tls, (refusal: Error | null) => {
        // The library sorts failures by its own classes.
        callback(refusal === null ? null : new UserError('A broker of the cluster may not be reached.', { cause: refusal }), metadata);
      });
    });
  };
}

const check = callbackify(checkAll);

/** In place: what is remembered of the cluster is checked once. */
async function checkAll(egress: Egress, { brokers }: ClusterMetadata, tls: boolean): Promise<void> {
  for (const [node, broker] of brokers) {
    const { host } = await checked(egress, broker, tls);
    if (host !== broker.host) brokers.set(node, { ...broker, host });
  }
}

async function checked(egress: Egress, { host, port }: Broker, tls: boolean): Promise<Broker> {
  return { host: tls && isIP(host) === 0 ? host : await egress.address(host), port };
}

/** In words of our own: those of the cluster may repeat what was sent. */
export function explainKafkaFailure(error: unknown): OutsideFailure {
  const leaves = [...leavesOf(error)];
  const refused = leaves.find((leaf) => leaf instanceof AddressRefused);
  if (refused !== undefined) return explainFailure(refused);
  for (const leaf of leaves) {
    // Cut off while it proves itself: the broker speaks TLS, or not, and does not say so.
    if (codeOf(leaf) === 'PLT_KFK_AUTHENTICATION' && [...leavesOf(leaf.cause)].some((cause) => codeOf(cause) === 'PLT_KFK_NETWORK')) return { message: 'the broker closed the connection; check the port and whether it speaks TLS', retryable: true };
    const known = KNOWN[leaf instanceof ProtocolError ? String(leaf['apiId']) : codeOf(leaf)];
    if (known !== undefined) return known;
    if (/requires TLS|supports TLS|TLS handshake/i.test(leaf.message)) return { message: 'the broker and the connection do not agree about TLS', retryable: false };
  }
  for (const leaf of leaves) {
    const plain = explainFailure(leaf);
    if (plain.message !== NOTHING_KNOWN.message) return plain;
  }
  return leaves.some((leaf) => codeOf(leaf) === 'PLT_KFK_NETWORK' || codeOf(leaf) === 'PLT_KFK_TIMEOUT') ? { message: 'the broker closed the connection or does not answer', retryable: true } : NOTHING_KNOWN;
}

const NOTHING_KNOWN = explainFailure(undefined);

const KNOWN: Readonly<Record<string, OutsideFailure>> = {
  PLT_KFK_AUTHENTICATION: { message: 'the broker refuses the user or the password', retryable: false },
  SASL_AUTHENTICATION_FAILED: { message: 'the broker refuses the user or the password', retryable: false },
  UNSUPPORTED_SASL_MECHANISM: { message: 'the broker does not offer this mechanism', retryable: false },
  UNKNOWN_TOPIC_OR_PARTITION: { message: 'the cluster has no such topic', retryable: false },
  UNKNOWN_TOPIC_ID: { message: 'the cluster has no such topic', retryable: false },
  INVALID_TOPIC_EXCEPTION: { message: 'the cluster has no such topic', retryable: false },
  TOPIC_AUTHORIZATION_FAILED: { message: 'the user may not read the topic', retryable: false },
  GROUP_AUTHORIZATION_FAILED: { message: 'the user may not use the consumer group', retryable: false },
  CLUSTER_AUTHORIZATION_FAILED: { message: 'the user may not use the cluster', retryable: false },
};

/** What went wrong at the bottom: the library gathers the failures of its attempts. */
function* leavesOf(error: unknown, depth = 0): Generator<Error> {
  if (!(error instanceof Error) || depth > 8) return;
  if (error instanceof MultipleErrors || error instanceof AggregateError) for (const inner of error.errors) yield* leavesOf(inner, depth + 1);
  yield* leavesOf(error.cause, depth + 1);
  yield error;
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}
