import { sql } from 'kysely';
import { HalError } from '../schemas/errors.ts';
import { type Act, recordAct, recordActs } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';

/** Announces transactions that are to be sent. */
export const CHAIN_CHANNEL = 'hal9_chain';

/** Of one reference, looked for by name: ranges of text depend on the collation. */
const MOST_REPETITIONS = 200;

export type TransactionState = 'queued' | 'pending' | 'mined' | 'confirmed' | 'failed' | 'cancelled';
export type TransactionOutcome = 'succeeded' | 'reverted' | 'cancelled';
export type AttemptKind = 'send' | 'bump' | 'cancel';

export interface TransactionRecord {
  readonly id: string;
  readonly seq: number;
  readonly signerId: string;
  readonly reference: string | null;
  readonly bodyHash: Buffer;
  readonly to: string | null;
  /** Wei. */
  readonly value: string;
  readonly data: Buffer;
  readonly gasLimit: number | null;
  /** Wei for a unit of gas. */
  readonly maxFee: string | null;
  /** May leave together with others for the same contract. */
  readonly batch: boolean;
  /** The transaction that it left in; whatever becomes of that is written here too. */
  readonly carrierId: string | null;
  /** Of a carrier: how many submissions it was made of. */
  readonly calls: number | null;
  readonly state: TransactionState;
  readonly outcome: TransactionOutcome | null;
  readonly cancelRequested: boolean;
  readonly nonce: number | null;
  readonly watched: boolean;
  readonly failure: string | null;
  readonly failureDetail: string | null;
  readonly hash: string | null;
  readonly blockNumber: number | null;
  readonly blockHash: string | null;
  /** Of a submission that left with others: its equal share. */
  readonly gasUsed: number | null;
  readonly gasPrice: string | null;
  readonly contractAddress: string | null;
  readonly createdAt: Date;
  readonly doneAt: Date | null;
}

export interface AttemptRecord {
  readonly n: number;
  readonly kind: AttemptKind;
  readonly nonce: number;
  readonly hash: string;
  readonly raw: Buffer;
  readonly maxFee: string;
  readonly priorityFee: string;
  readonly signedAt: Date;
  readonly broadcastAt: Date | null;
  readonly broadcasts: number;
  readonly rejection: string | null;
}

export type OpenTransaction = TransactionRecord & { readonly attempts: readonly (Omit<AttemptRecord, 'raw' | 'signedAt' | 'broadcastAt'> & { readonly ageMs: number; readonly quietMs: number | null })[] };
export type NewTransaction = Pick<TransactionRecord, 'id' | 'signerId' | 'reference' | 'bodyHash' | 'to' | 'value' | 'data' | 'gasLimit' | 'maxFee' | 'batch'>;
/** A transaction that was asked for: the row that is there by then, and whether this request made it. */
export interface Submitted {
  readonly transaction: TransactionRecord;
  readonly created: boolean;
}
/** What a request to write transactions down comes with. */
export interface Submission {
  /** The act of one that is new. */
  readonly actFor: (transaction: NewTransaction) => Act;
  /** JSON pointer of one in the request, by its place. */
  readonly pathOf: (place: number) => string;
}
export type NewAttempt = Pick<AttemptRecord, 'n' | 'kind' | 'nonce' | 'hash' | 'raw' | 'maxFee' | 'priorityFee'> & { readonly transactionId: string };

/** A transaction that is to get a nonce. */
export interface Allotment {
  readonly id: string;
  readonly gas: number;
  /** Left out: a submission by itself. */
  readonly carrier?: Carrier;
}

/** A transaction that submissions leave in together. */
export interface Carrier {
  readonly to: string;
  readonly data: Buffer;
  readonly maxFee: string | null;
  /** Ids of the submissions, in their order. */
  readonly members: readonly string[];
}

/** What a receipt says. */
export interface Mined {
  readonly id: string;
  readonly outcome: TransactionOutcome;
  readonly hash: string;
  readonly blockNumber: number;
  readonly blockHash: string;
  readonly gasUsed: number;
  readonly gasPrice: string;
  readonly contractAddress: string | null;
}

export interface TransactionEvent {
  readonly at: Date;
  readonly what: string;
  readonly detail: string | null;
}

const COLUMNS = sql.raw(
  `id, seq::float8 as seq, signer_id as "signerId", reference, body_hash as "bodyHash", to_address as "to", value::text as value, data, gas_limit::float8 as "gasLimit", max_fee::text as "maxFee", batch, carrier_id as "carrierId", calls, state, outcome,
   cancel_requested as "cancelRequested", nonce::float8 as nonce, watched, failure, failure_detail as "failureDetail", hash, block_number::float8 as "blockNumber", block_hash as "blockHash",
   gas_used::float8 as "gasUsed", gas_price::text as "gasPrice", contract_address as "contractAddress", created_at as "createdAt", done_at as "doneAt"`,
);

/** Transactions, their signed versions and what happened to them. */
export class ChainTransactionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Writes transactions down, all or none, in their order, each reference once.
   * @returns one for each that was asked for, in that order: it, or an earlier one of the same reference.
   * @throws {HalError} `NotFound` when a signer is not there; `IdempotencyMismatch` when a reference was used for something else.
   */
  async submit(orgId: string, asked: readonly NewTransaction[], { actFor, pathOf }: Submission): Promise<Submitted[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      await this.#holdSigners(tx, orgId, asked);
      const rows = asked.map(({ bodyHash, data, ...rest }, place) => ({ ...rest, place, bodyHash: bodyHash.toString('hex'), data: data.toString('hex') }));
      const made = await sql<{ id: string }>`insert into chain_transactions (org_id, id, signer_id, reference, body_hash, to_address, value, data, gas_limit, max_fee, batch)
        select ${orgId}::uuid, a.id, a."signerId", a.reference, decode(a."bodyHash", 'hex'), a."to", a.value, decode(a.data, 'hex'), a."gasLimit", a."maxFee", a.batch
        from json_to_recordset(${JSON.stringify(rows)}::json) as a(place int, id uuid, "signerId" uuid, reference text, "bodyHash" text, "to" text, value numeric, data text, "gasLimit" bigint, "maxFee" numeric, batch boolean)
        order by a.place on conflict do nothing returning id`.execute(tx);
      const fresh = new Set(made.rows.map(({ id }) => id));
      const repeated = asked.filter(({ id }) => !fresh.has(id));
      const there = await sql<TransactionRecord>`select ${COLUMNS} from chain_transactions where org_id = ${orgId} and (id = any(${[...fresh]}::uuid[])
        or (signer_id, reference) in (select * from unnest(${repeated.map(({ signerId }) => signerId)}::uuid[], ${repeated.map(({ reference }) => reference)}::text[])))`.execute(tx);
      const byId = new Map(there.rows.map((row) => [row.id, row]));
      const byReference = new Map(there.rows.map((row) => [`${row.signerId} ${row.reference ?? ''}`, row]));
      const submitted = asked.map((one, place) => submittedAs(one, pathOf(place), byId.get(one.id) ?? byReference.get(`${one.signerId} ${one.reference ?? ''}`)));
      if (fresh.size === 0) return submitted;
      const created = asked.filter(({ id }) => fresh.has(id));
      await this.#note(tx, orgId, created.map(({ id }) => ({ id, what: 'submitted' })));
      await sql`select pg_notify(${CHAIN_CHANNEL}, '')`.execute(tx);
      await recordActs(tx, created.map(actFor));
      return submitted;
    });
  }

  /** Several transactions at once wait for others of their signers, in one order: two requests with the same references would wait for each other. */
  async #holdSigners(tx: Tx, orgId: string, asked: readonly NewTransaction[]): Promise<void> {
    const signers = [...new Set(asked.map(({ signerId }) => signerId))];
    const held = await sql`select id from chain_signers where org_id = ${orgId} and id = any(${signers}::uuid[]) order by id ${asked.length > 1 ? sql`for no key update` : sql``}`.execute(tx);
    if (held.rows.length < signers.length) throw new HalError('NotFound', 'there is no such signer');
  }

  /** Newest first; `before` is the `seq` of the last of the page before. */
  async list(orgId: string, filter: { readonly signerId?: string; readonly state?: TransactionState }, limit: number, before?: number): Promise<TransactionRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<TransactionRecord>`select ${COLUMNS} from chain_transactions where org_id = ${orgId} and (${filter.signerId ?? null}::uuid is null or signer_id = ${filter.signerId ?? null}::uuid)
        and (${filter.state ?? null}::text is null or state = ${filter.state ?? null}) and (${before ?? null}::bigint is null or seq < ${before ?? null}) order by seq desc limit ${limit}`.execute(tx);
      return rows;
    });
  }

  /** The signed versions of one that left with others are those of its carrier. */
  async find(orgId: string, id: string): Promise<{ readonly transaction: TransactionRecord; readonly attempts: readonly AttemptRecord[]; readonly events: readonly TransactionEvent[] } | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<TransactionRecord>`select ${COLUMNS} from chain_transactions where org_id = ${orgId} and id = ${id}`.execute(tx);
      const [transaction] = rows;
      if (transaction === undefined) return undefined;
      const attempts = await sql<AttemptRecord>`select n, kind, nonce::float8 as nonce, hash, raw, max_fee::text as "maxFee", priority_fee::text as "priorityFee", signed_at as "signedAt", broadcast_at as "broadcastAt", broadcasts, rejection
        from chain_attempts where org_id = ${orgId} and transaction_id = ${transaction.carrierId ?? id} order by n`.execute(tx);
      const events = await sql<TransactionEvent>`select at, what, detail from chain_transaction_events where org_id = ${orgId} and transaction_id = ${id} order by seq`.execute(tx);
      return { transaction, attempts: attempts.rows, events: events.rows };
    });
  }

  /** The last transaction that was submitted under a reference or, after it could not succeed, under the same with ` #2`, ` #3` and so on. */
  async latest(orgId: string, signerId: string, reference: string): Promise<TransactionRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<TransactionRecord>`select ${COLUMNS} from chain_transactions where org_id = ${orgId} and signer_id = ${signerId}
        and reference = any(${[reference, ...Array.from({ length: MOST_REPETITIONS }, (_, place) => `${reference} #${String(place + 2)}`)]}::text[]) order by seq desc limit 1`.execute(tx);
      return rows[0];
    });
  }

  /** Asks for a transaction to be cancelled, with all it carries: at once when it has no nonce yet. @returns whether it was still open, and did not leave in another. */
  async cancel(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ state: TransactionState }>`update chain_transactions set cancel_requested = true, announced = false, state = case state when 'queued' then 'cancelled' else state end,
        watched = state <> 'queued', done_at = case state when 'queued' then now() end where org_id = ${orgId} and id = ${id} and state in ('queued', 'pending') and carrier_id is null returning state`.execute(tx);
      const [changed] = rows;
      if (changed === undefined) return false;
      const carried = await this.#mirror(tx, orgId, [id]);
      await this.#note(tx, orgId, [id, ...carried.map((member) => member.id)].map((one) => ({ id: one, what: changed.state === 'cancelled' ? 'cancelled' : 'cancel-requested' })));
      await sql`select pg_notify(${CHAIN_CHANNEL}, '')`.execute(tx);
      await recordAct(tx, act);
      return true;
    });
  }

  /** Signers whose runs must hear of transactions. The rows count as announced; {@link unannounceAcrossOrganisations} takes that back. */
  async announceAcrossOrganisations(): Promise<{ readonly orgId: string; readonly signerId: string }[]> {
    const { rows } = await sql<{ orgId: string; signerId: string }>`
      with told as (
        update chain_transactions set announced = true
        where (org_id, id) in (select org_id, id from chain_transactions where watched and not announced order by created_at limit 5000 for update skip locked) returning org_id, signer_id
      ) select distinct org_id as "orgId", signer_id as "signerId" from told`.execute(this.#database.system);
    return rows;
  }

  /** Its run could not be told. */
  async unannounceAcrossOrganisations(orgId: string, signerId: string): Promise<void> {
    await sql`update chain_transactions set announced = false where org_id = ${orgId} and signer_id = ${signerId} and watched`.execute(this.#database.system);
  }

  /** Signers with open transactions, for a process that lost its runs. */
  async openSignersAcrossOrganisations(): Promise<{ readonly orgId: string; readonly signerId: string }[]> {
    const { rows } = await sql<{ orgId: string; signerId: string }>`select distinct org_id as "orgId", signer_id as "signerId" from chain_transactions where watched limit 10000`.execute(this.#database.system);
    return rows;
  }

  /** Everything of a signer that may still change, oldest first, queued ones up to a limit; without those that left in others: they go the way of these. */
  async open(orgId: string, signerId: string, queuedLimit: number): Promise<OpenTransaction[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<TransactionRecord>`
        (select ${COLUMNS} from chain_transactions where org_id = ${orgId} and signer_id = ${signerId} and watched and state = 'queued' order by seq limit ${queuedLimit})
        union all (select ${COLUMNS} from chain_transactions where org_id = ${orgId} and signer_id = ${signerId} and watched and state <> 'queued' and carrier_id is null) order by nonce nulls last, seq`.execute(tx);
      const pending = rows.filter(({ state }) => state === 'pending').map(({ id }) => id);
      if (pending.length === 0) return rows.map((row) => ({ ...row, attempts: [] }));
      const attempts = await sql<OpenTransaction['attempts'][number] & { transactionId: string }>`select transaction_id as "transactionId", n, kind, nonce::float8 as nonce, hash, max_fee::text as "maxFee", priority_fee::text as "priorityFee", broadcasts, rejection,
          (extract(epoch from clock_timestamp() - signed_at) * 1000)::float8 as "ageMs", (extract(epoch from clock_timestamp() - broadcast_at) * 1000)::float8 as "quietMs"
        from chain_attempts where org_id = ${orgId} and transaction_id = any(${pending}::uuid[]) order by n`.execute(tx);
      const byTransaction = Map.groupBy(attempts.rows, ({ transactionId }) => transactionId);
      return rows.map((row) => ({ ...row, attempts: byTransaction.get(row.id) ?? [] }));
    });
  }

  /**
   * Gives nonces and gas to queued transactions, in their order: the lowest from `floor` on that none has, so that a counter that is
   * ahead of the chain leaves no gap. The signer's row is locked meanwhile. Carriers are written down here.
   * @returns what each got; transactions that were cancelled meanwhile are left out, and so are carriers of such.
   */
  async allocate(orgId: string, signerId: string, ready: readonly Allotment[], floor: number): Promise<ReadonlyMap<string, number>> {
    return this.#database.withOrg(orgId, async (tx) => {
      await sql`select 1 from chain_signers where org_id = ${orgId} and id = ${signerId} for update`.execute(tx);
      const asked = ready.flatMap(({ id, carrier }) => carrier?.members ?? [id]);
      const queued = await sql<{ id: string }>`select id from chain_transactions where org_id = ${orgId} and id = any(${asked}::uuid[]) and state = 'queued' order by seq for update`.execute(tx);
      const free = new Set(queued.rows.map(({ id }) => id));
      const held = await sql<{ nonce: number }>`select nonce::float8 as nonce from chain_transactions where org_id = ${orgId} and signer_id = ${signerId} and nonce >= ${floor}`.execute(tx);
      const taken = new Set(held.rows.map(({ nonce }) => nonce));
      const given: (Allotment & { readonly nonce: number })[] = [];
      let next = floor;
      for (const one of ready.filter(({ id, carrier }) => (carrier?.members ?? [id]).every((member) => free.has(member)))) {
        while (taken.has(next)) next += 1;
        given.push({ ...one, nonce: next });
        next += 1;
      }
      const alone = given.filter(({ carrier }) => carrier === undefined);
      await sql`update chain_transactions t set nonce = w.nonce, gas_limit = w.gas, state = 'pending' from json_to_recordset(${JSON.stringify(alone)}::json) as w(id uuid, gas bigint, nonce bigint) where t.org_id = ${orgId} and t.id = w.id`.execute(tx);
      await this.#load(tx, orgId, signerId, given.flatMap(({ id, gas, nonce, carrier }) => (carrier === undefined ? [] : [{ id, gas, nonce, ...carrier }])));
      await sql`update chain_signers set next_nonce = greatest(next_nonce, ${next}) where org_id = ${orgId} and id = ${signerId}`.execute(tx);
      return new Map(given.map(({ id, nonce }) => [id, nonce]));
    });
  }

  /** Writes carriers down, and which submissions are in each. */
  async #load(tx: Tx, orgId: string, signerId: string, carriers: readonly (Carrier & Pick<Allotment, 'id' | 'gas'> & { readonly nonce: number })[]): Promise<void> {
    if (carriers.length === 0) return;
    const rows = carriers.map(({ data, members, ...rest }) => ({ ...rest, data: data.toString('base64'), calls: members.length }));
    await sql`insert into chain_transactions (org_id, id, signer_id, body_hash, to_address, data, gas_limit, max_fee, state, nonce, calls, announced)
      select ${orgId}::uuid, c.id, ${signerId}::uuid, sha256(decode(c.data, 'base64')), c."to", decode(c.data, 'base64'), c.gas, c."maxFee", 'pending', c.nonce, c.calls, true
      from json_to_recordset(${JSON.stringify(rows)}::json) as c(id uuid, "to" text, data text, gas bigint, "maxFee" numeric, nonce bigint, calls int)`.execute(tx);
    const members = carriers.flatMap((carrier) => carrier.members.map((id) => ({ id, carrierId: carrier.id })));
    await sql`update chain_transactions t set state = 'pending', carrier_id = m."carrierId" from json_to_recordset(${JSON.stringify(members)}::json) as m(id uuid, "carrierId" uuid) where t.org_id = ${orgId} and t.id = m.id`.execute(tx);
    await this.#note(tx, orgId, [...carriers.map(({ id, members: { length } }) => ({ id, what: 'submitted', detail: `carries ${String(length)}` })), ...members.map(({ id, carrierId }) => ({ id, what: 'batched', detail: carrierId }))]);
  }

  /** Keeps signed versions before they are sent. @returns those that are new: another process may have been quicker. */
  async sign(orgId: string, attempts: readonly NewAttempt[]): Promise<ReadonlySet<string>> {
    if (attempts.length === 0) return new Set();
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = attempts.map(({ raw, ...attempt }) => ({ ...attempt, raw: raw.toString('base64') }));
      const written = await sql<{ hash: string }>`insert into chain_attempts (org_id, transaction_id, n, kind, nonce, hash, raw, max_fee, priority_fee)
        select ${orgId}::uuid, a."transactionId", a.n, a.kind, a.nonce, a.hash, decode(a.raw, 'base64'), a."maxFee", a."priorityFee"
        from json_to_recordset(${JSON.stringify(rows)}::json) as a("transactionId" uuid, n int, kind text, nonce bigint, hash text, raw text, "maxFee" numeric, "priorityFee" numeric)
        join chain_transactions t on t.org_id = ${orgId} and t.id = a."transactionId" and t.state = 'pending' and t.nonce = a.nonce on conflict do nothing returning hash`.execute(tx);
      const fresh = new Set(written.rows.map(({ hash }) => hash));
      const signed = attempts.filter(({ hash }) => fresh.has(hash)).map(({ transactionId, kind, hash }) => ({ id: transactionId, what: kind === 'send' ? 'signed' : 'bumped', detail: hash }));
      const { rows: carried } = await sql<Carried>`select id, carrier_id as "carrierId" from chain_transactions where org_id = ${orgId} and carrier_id = any(${signed.map(({ id }) => id)}::uuid[])`.execute(tx);
      await this.#note(tx, orgId, withCarried(signed, carried));
      return fresh;
    });
  }

  /** The signed bytes of versions, by hash. */
  async raw(orgId: string, hashes: readonly string[], transactionIds: readonly string[]): Promise<ReadonlyMap<string, Buffer>> {
    if (hashes.length === 0) return new Map();
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ hash: string; raw: Buffer }>`select hash, raw from chain_attempts where org_id = ${orgId} and transaction_id = any(${[...transactionIds]}::uuid[]) and hash = any(${[...hashes]})`.execute(tx);
      return new Map(rows.map(({ hash, raw }) => [hash, raw]));
    });
  }

  /** Notes what nodes said to versions that were sent. */
  async noteBroadcasts(orgId: string, sent: readonly { readonly transactionId: string; readonly hash: string; readonly rejection: string | null }[]): Promise<void> {
    if (sent.length === 0) return;
    await this.#database.withOrg(orgId, async (tx) => {
      await sql`update chain_attempts a set broadcast_at = clock_timestamp(), broadcasts = broadcasts + 1, rejection = s.rejection
        from json_to_recordset(${JSON.stringify(sent)}::json) as s("transactionId" uuid, hash text, rejection text) where a.org_id = ${orgId} and a.transaction_id = s."transactionId" and a.hash = s.hash`.execute(tx);
    });
  }

  /** Notes transactions that are in a block. */
  async mined(orgId: string, mined: readonly Mined[]): Promise<void> {
    if (mined.length === 0) return;
    await this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ id: string; blockNumber: number }>`update chain_transactions t set state = 'mined', outcome = m.outcome, hash = m.hash, block_number = m."blockNumber", block_hash = m."blockHash", gas_used = m."gasUsed", gas_price = m."gasPrice", contract_address = m."contractAddress"
        from json_to_recordset(${JSON.stringify(mined)}::json) as m(id uuid, outcome text, hash text, "blockNumber" bigint, "blockHash" text, "gasUsed" bigint, "gasPrice" numeric, "contractAddress" text)
        where t.org_id = ${orgId} and t.id = m.id and t.state = 'pending' returning t.id, t.block_number::float8 as "blockNumber"`.execute(tx);
      const carried = await this.#mirror(tx, orgId, rows.map(({ id }) => id));
      await this.#note(tx, orgId, withCarried(rows.map(({ id, blockNumber }) => ({ id, what: 'mined', detail: `block ${String(blockNumber)}` })), carried));
    });
  }

  /**
   * Notes transactions that are deep enough; `final` ones are not looked at again. What was in a carrier that was reverted had no effect, and waits again, to be sent alone.
   * @returns how many submissions were confirmed.
   */
  async settle(orgId: string, confirmed: readonly string[], final: readonly string[]): Promise<number> {
    if (confirmed.length === 0 && final.length === 0) return 0;
    return this.#database.withOrg(orgId, async (tx) => {
      const deep = await sql<{ id: string; calls: number | null; outcome: TransactionOutcome }>`update chain_transactions set state = 'confirmed', done_at = now() where org_id = ${orgId} and id = any(${[...confirmed]}::uuid[]) and state = 'mined' returning id, calls, outcome`.execute(tx);
      const carried = await this.#mirror(tx, orgId, deep.rows.map(({ id }) => id));
      await this.#note(tx, orgId, withCarried(deep.rows.map(({ id }) => ({ id, what: 'confirmed' })), carried));
      await this.#unload(tx, orgId, deep.rows.filter(({ calls, outcome }) => calls !== null && outcome === 'reverted').map(({ id }) => id), { batch: false, why: 'was reverted' });
      const over = await sql<{ id: string }>`update chain_transactions set watched = false where org_id = ${orgId} and id = any(${[...final]}::uuid[]) and state = 'confirmed' returning id`.execute(tx);
      await this.#note(tx, orgId, withCarried(over.rows.map(({ id }) => ({ id, what: 'final' })), await this.#mirror(tx, orgId, over.rows.map(({ id }) => id))));
      return deep.rows.filter(({ calls }) => calls === null).length + carried.length;
    });
  }

  /** Final transactions whose nonce the chain gives out again, in blocks it has replaced: lowest nonces first. */
  async finalFrom(orgId: string, signerId: string, nonce: number, head: number, limit: number): Promise<{ readonly id: string; readonly blockNumber: number; readonly blockHash: string }[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ id: string; blockNumber: number; blockHash: string }>`select id, block_number::float8 as "blockNumber", block_hash as "blockHash" from chain_transactions
        where org_id = ${orgId} and signer_id = ${signerId} and nonce >= ${nonce} and state = 'confirmed' and not watched and block_number <= ${head} order by nonce limit ${limit}`.execute(tx);
      return rows;
    });
  }

  /**
   * Takes back what rested on blocks that are no longer part of the chain; the transactions are pending again, with their nonces, and looked at again where they were final.
   * A carrier that was reverted, and whose submissions went on without it, must not come back: it is to be cancelled.
   */
  async rollBack(orgId: string, gone: readonly { readonly id: string; readonly blockHash: string }[]): Promise<void> {
    if (gone.length === 0) return;
    await this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ id: string; blockHash: string }>`update chain_transactions t set state = 'pending', watched = true, outcome = null, hash = null, block_number = null, block_hash = null, gas_used = null, gas_price = null, contract_address = null, done_at = null,
          cancel_requested = t.cancel_requested or (t.calls is not null and not exists (select 1 from chain_transactions c where c.org_id = ${orgId} and c.carrier_id = t.id))
        from json_to_recordset(${JSON.stringify(gone)}::json) as g(id uuid, "blockHash" text) where t.org_id = ${orgId} and t.id = g.id and t.state in ('mined', 'confirmed') and t.block_hash = g."blockHash" returning t.id, g."blockHash"`.execute(tx);
      const carried = await this.#mirror(tx, orgId, rows.map(({ id }) => id));
      await this.#note(tx, orgId, withCarried(rows.map(({ id, blockHash }) => ({ id, what: 'rolled-back', detail: `block ${blockHash} is gone` })), carried));
    });
  }

  /** Takes a nonce away that somebody else's transaction used, so that another is given out. None of the versions with it can ever be mined. What a carrier held waits again, to leave in another. */
  async loseNonce(orgId: string, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    await this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ id: string; nonce: number; calls: number | null; state: TransactionState }>`
        with was as (select id, nonce, cancel_requested or calls is not null as over from chain_transactions where org_id = ${orgId} and id = any(${[...ids]}::uuid[]) and state = 'pending' for update)
        update chain_transactions t set nonce = null, state = case when was.over then 'cancelled' else 'queued' end, watched = not was.over, done_at = case when was.over then now() end
        from was where t.org_id = ${orgId} and t.id = was.id returning t.id, was.nonce::float8 as nonce, t.calls, t.state`.execute(tx);
      await this.#note(tx, orgId, rows.map(({ id, nonce }) => ({ id, what: 'nonce-lost', detail: `nonce ${String(nonce)} was used elsewhere` })));
      await this.#note(tx, orgId, rows.filter(({ state }) => state === 'cancelled').map(({ id }) => ({ id, what: 'cancelled' })));
      await this.#unload(tx, orgId, rows.filter(({ calls }) => calls !== null).map(({ id }) => id), { batch: true, why: 'lost its nonce' });
    });
  }

  /** Gives a transaction up that was never sent. */
  async fail(orgId: string, id: string, failure: { readonly type: string; readonly detail: string }): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      const { numAffectedRows } = await sql`update chain_transactions set state = 'failed', watched = false, failure = ${failure.type}, failure_detail = ${failure.detail}, done_at = now() where org_id = ${orgId} and id = ${id} and state = 'queued'`.execute(tx);
      if (numAffectedRows === 1n) await this.#note(tx, orgId, [{ id, what: 'failed', detail: failure.type }]);
    });
  }

  /** Writes a transaction of no effect into a gap that would hold later ones up. @returns whether the nonce was free. */
  async fillGap(orgId: string, signerId: string, id: string, to: string, nonce: number): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      await sql`select 1 from chain_signers where org_id = ${orgId} and id = ${signerId} for update`.execute(tx);
      const { numAffectedRows } = await sql`insert into chain_transactions (org_id, id, signer_id, body_hash, to_address, data, gas_limit, state, nonce, announced)
        values (${orgId}, ${id}, ${signerId}, sha256(''), ${to}, '', 21000, 'pending', ${nonce}, true) on conflict do nothing`.execute(tx);
      if (numAffectedRows === 1n) await this.#note(tx, orgId, [{ id, what: 'submitted', detail: `fills nonce ${String(nonce)}` }]);
      return numAffectedRows === 1n;
    });
  }

  /** Writes down for what carriers hold what became of these. Not that one was reverted: then nothing of it happened, and it is not over. @returns those it changed anything for. */
  async #mirror(tx: Tx, orgId: string, ids: readonly string[]): Promise<readonly Carried[]> {
    const { rows } = await sql<Carried>`update chain_transactions t set state = c.state, outcome = c.outcome, watched = c.watched, cancel_requested = c.cancel_requested, hash = c.hash, block_number = c.block_number, block_hash = c.block_hash,
        gas_used = c.gas_used / c.calls, gas_price = c.gas_price, done_at = c.done_at
      from chain_transactions c where c.org_id = ${orgId} and c.id = any(${[...ids]}::uuid[]) and c.calls is not null and c.outcome is distinct from 'reverted' and t.org_id = ${orgId} and t.carrier_id = c.id
        and (t.state, t.block_hash, t.watched, t.cancel_requested) is distinct from (c.state, c.block_hash, c.watched, c.cancel_requested) returning t.id, t.carrier_id as "carrierId"`.execute(tx);
    return rows;
  }

  /** Takes submissions out of carriers that came to nothing: they wait again, or are over where all were to be cancelled. */
  async #unload(tx: Tx, orgId: string, carriers: readonly string[], { batch, why }: { readonly batch: boolean; readonly why: string }): Promise<void> {
    if (carriers.length === 0) return;
    const { rows } = await sql<Carried & { cancelled: boolean }>`with was as (select id, carrier_id from chain_transactions where org_id = ${orgId} and carrier_id = any(${[...carriers]}::uuid[]) for update)
      update chain_transactions t set carrier_id = null, batch = ${batch}, state = case when cancel_requested then 'cancelled' else 'queued' end, watched = not cancel_requested, done_at = case when cancel_requested then now() end
      from was where t.org_id = ${orgId} and t.id = was.id returning t.id, was.carrier_id as "carrierId", t.cancel_requested as cancelled`.execute(tx);
    await this.#note(tx, orgId, rows.map(({ id, carrierId }) => ({ id, what: 'unbatched', detail: `${carrierId} ${why}` })));
    await this.#note(tx, orgId, rows.filter(({ cancelled }) => cancelled).map(({ id }) => ({ id, what: 'cancelled' })));
  }

  async #note(tx: Tx, orgId: string, events: readonly { readonly id: string; readonly what: string; readonly detail?: string }[]): Promise<void> {
    if (events.length === 0) return;
    await sql`insert into chain_transaction_events (org_id, transaction_id, what, detail) select ${orgId}::uuid, e.id, e.what, e.detail from json_to_recordset(${JSON.stringify(events)}::json) as e(id uuid, what text, detail text)`.execute(tx);
  }
}

/** A submission in a carrier. */
interface Carried {
  readonly id: string;
  readonly carrierId: string;
}

/** Events, and the same of what is carried. */
function withCarried<Event extends { readonly id: string }>(events: readonly Event[], carried: readonly Carried[]): Event[] {
  const byCarrier = Map.groupBy(carried, ({ carrierId }) => carrierId);
  return events.flatMap((event) => [event, ...(byCarrier.get(event.id) ?? []).map(({ id }) => ({ ...event, id }))]);
}

function submittedAs(asked: NewTransaction, path: string, there: TransactionRecord | undefined): Submitted {
  if (there === undefined) throw new Error('a transaction neither written nor there');
  if (!there.bodyHash.equals(asked.bodyHash)) throw new HalError('IdempotencyMismatch', 'the reference belongs to another transaction', { errors: [{ path: `${path}/reference`, message: 'used for another transaction' }] });
  return { transaction: there, created: there.id === asked.id };
}
