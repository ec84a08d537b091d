import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DecisionStore } from '../../database/decisions.ts';
import { OutboxStore } from '../../database/outbox.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { createNotify, type Notify } from '../../platform/notify/notify.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import cascade from '../../schemas/operations/cascade.ts';
import { createOutbox } from '../../workers/dispatcher/outbox.ts';
import { CascadeHouse } from './house.ts';
import { reading } from './neurons.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

const logger = pino({ level: 'silent' });
const keys = new KeyRing([{ id: 'test', key: randomBytes(32) }]);
/** Any id: the run only has to be started. */
const BATCH = '3f0b6a52-5b0e-4b57-9d53-0b8a4f0c0a01';

let house: CascadeHouse;
let operations: Operations;
let notify: Notify;
let connections: Connections;
let egress: Egress;
let receiver: Server;
const received: string[] = [];

beforeAll(async () => {
  house = await CascadeHouse.open();
  await house.serve();
  const { database } = house.test;
  operations = createOperations({ client: house.client, database, contracts: new Map([[cascade.name, cascade]]), keys, logger });
  egress = new Egress({ allowPrivate: true });
  connections = new Connections({ database, keys, egress });
  notify = createNotify({ database, connections, egress });
  receiver = createServer((request, response) => {
    request.on('data', (part: Buffer) => received.push(part.toString()));
    request.on('end', () => response.writeHead(204).end());
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  receiver.close();
  await egress.close();
  await operations.close();
  await house.close();
});

/** Everything that is due, by one dispatcher. */
async function drain(by: Pick<Operations, 'start'> = operations): Promise<void> {
  const outbox = createOutbox({ outbox: new OutboxStore(house.test.database), operations: by, notify, logger });
  while (await outbox.run(new AbortController().signal)) continue;
}

async function owner(statement: string, values: readonly unknown[]): Promise<void> {
  const client = new pg.Client({ connectionString: house.test.url });
  await client.connect();
  await client.query(statement, [...values]);
  await client.end();
}

async function decided(decide: Readonly<Record<string, unknown>>): Promise<{ orgId: string; id: string }> {
  const orgId = await house.test.organisation();
  await house.neurons(orgId, [{ name: 'decide', layer: 'L2', subscription: { types: ['test.reading'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', decide: { summary: '"s"', reason: '"r"', ...decide } }] } }]);
  await house.ingest(orgId, [reading('a', 1)]);
  await house.decideAll();
  const [decision] = await new DecisionStore(house.test.database).list(orgId, {}, 10);
  if (decision === undefined) throw new Error('nothing was decided');
  return { orgId, id: decision.id };
}

const decisionOf = ({ orgId, id }: { orgId: string; id: string }) => new DecisionStore(house.test.database).find(orgId, id);

describe('the outbox', () => {
  it('starts the operation of a decision once, whatever dies in between', async () => {
    const made = await decided({ operation: { type: 'cascade', input: `{"batchId": "${BATCH}"}` } });
    await drain();
    expect(await decisionOf(made)).toMatchObject({ state: 'done', runId: `cascade~${made.id}`, effectFailure: null });
    const workflowId = `${made.orgId}/cascade/${made.id}`;
    const { runId } = await house.client.workflow.getHandle(workflowId).describe();
    // The dispatcher died after the start and before it noted so: the entry is due again.
    await owner(`update outbox set done_at = null, next_at = now() where id = $1`, [made.id]);
    await owner(`update decisions set state = 'pending', run_id = null where id = $1`, [made.id]);
    await Promise.all([drain(), drain()]);
    expect(await decisionOf(made)).toMatchObject({ state: 'done', runId: `cascade~${made.id}` });
    expect((await house.client.workflow.getHandle(workflowId).describe()).runId).toBe(runId);
  });

  it('fails a decision whose operation does not exist, with the cause', async () => {
    const made = await decided({ operation: { type: 'nowhere', input: '{}' } });
    await drain();
    expect(await decisionOf(made)).toMatchObject({ state: 'failed', effectFailure: 'UnknownOperation: no operation "nowhere"' });
  });

  it('tries again later when the target is away', async () => {
    const made = await decided({ operation: { type: 'cascade', input: `{"batchId": "${BATCH}"}` } });
    const away = Connection.lazy({ address: `127.0.0.1:${String(await freePort())}`, connectTimeout: 200 });
    const deaf = createOperations({ client: new Client({ connection: away, namespace: house.namespace }), database: house.test.database, contracts: operations.contracts, keys, logger });
    await drain(deaf);
    await away.close();
    expect(await decisionOf(made)).toMatchObject({ state: 'pending', runId: null });
    const [entry] = await house.test.database.withOrg(made.orgId, (tx) => tx.selectFrom('outbox').selectAll().execute());
    expect(entry).toMatchObject({ attempts: 1, done_at: null });
    expect(entry?.last_failure).toContain('DependencyUnavailable');
    await owner('update outbox set next_at = now() where id = $1', [made.id]);
    await drain();
    expect(await decisionOf(made)).toMatchObject({ state: 'done' });
  }, 60_000);

  it('sends the message of a decision through its connection, once', async () => {
    const address = receiver.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const made = await decided({ notify: { connection: 'ops', title: '"cool down"', message: '"host " + signal.subject' } });
    await connections.create(systemCaller(made.orgId, 'test'), { name: 'ops', settings: { kind: 'webhook', url: `http://127.0.0.1:${String(address.port)}/`, headers: {} } }, { test: false, signal: new AbortController().signal });
    await drain();
    expect(await decisionOf(made)).toMatchObject({ state: 'done' });
    await owner(`update outbox set done_at = null, next_at = now() where id = $1`, [made.id]);
    await drain();
    expect(received).toHaveLength(1);
    expect(received[0]).toContain('host host-a');
  });

  it('fails a decision whose connection does not exist, and asks people first where a rule says so', async () => {
    const lost = await decided({ notify: { connection: 'nobody', title: '"t"', message: '"m"' } });
    const asks = await decided({ operation: { type: 'cascade', input: '{}' }, approval: { required: 2 } });
    await drain();
    expect(await decisionOf(lost)).toMatchObject({ state: 'failed' });
    const [entry] = await house.test.database.withOrg(asks.orgId, (tx) => tx.selectFrom('outbox').selectAll().execute());
    expect(entry?.payload).toMatchObject({ type: 'approval', input: { decisionId: asks.id, summary: 's', approval: { required: 2, permission: 'approvals:write' }, effect: { operation: { type: 'cascade' } } } });
  });
});
