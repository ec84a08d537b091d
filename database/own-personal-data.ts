import { sql, type RawBuilder } from 'kysely';
import type { Database, Tx } from './database.ts';

/** Whom to look for in HAL9's own rows. */
export interface OwnInquiry {
  readonly orgId: string;
  /** In lower case; shorter ones than four characters are found by chance and left out. */
  readonly texts: readonly string[];
  /** Keyed hashes. */
  readonly subjects: readonly Buffer[];
  /** Ids of the person's keys. */
  readonly keyIds: readonly string[];
}

/** The person's signals and what came of them, and their runs. */
interface Person extends OwnInquiry {
  /** Signals, emissions, decisions. */
  readonly ids: readonly string[];
  readonly runIds: readonly string[];
}

interface OwnTable {
  readonly table: string;
  /** Columns that may name anybody. */
  readonly look: readonly string[];
  /** Rows that are the person's whatever they hold. */
  readonly link?: (person: Person) => RawBuilder<boolean>;
  /** HAL9's own notes about requests of the person, or rows that are exported otherwise because they are sealed; erased, and not read here. */
  readonly notes?: true;
  /** New values, as SQL; without: the rows are deleted. */
  readonly set?: Readonly<Record<string, string>>;
}

const ids = (person: Person): RawBuilder<unknown> => sql`${[...person.ids]}::uuid[]`;
const runIds = (person: Person): RawBuilder<unknown> => sql`${[...person.runIds]}::text[]`;
const ERASED = "'erased'";
const EMPTY = "'{}'::jsonb";

/** In this order: what is found through other rows is erased before them. */
const OWN: readonly OwnTable[] = [
  { table: 'outbox', look: ['payload'], link: (person) => sql`id = any (${ids(person)})`, set: { payload: EMPTY, done_at: 'coalesce(done_at, now())' } },
  { table: 'dead_letters', look: ['cause'], link: (person) => sql`ref = any (${ids(person)})`, set: { cause: ERASED } },
  { table: 'external_calls', look: ['signal', 'answer'], link: (person) => sql`(signal ->> 'ref') = any (${[...person.ids]}::text[])`, set: { signal: EMPTY, answer: 'null' } },
  { table: 'automation_firings', look: ['effect', 'reason'], link: (person) => sql`signal_key = any (${ids(person)})`, set: { effect: 'null' } },
  { table: 'approval_answers', look: ['comment'], set: { comment: 'null' } },
  { table: 'approvals', look: ['summary', 'reason', 'effect', 'outcome'], link: (person) => sql`(decision_id = any (${ids(person)}) or run_id = any (${runIds(person)}))`, set: { summary: ERASED, reason: ERASED, effect: 'null', outcome: 'case when outcome is null then null else state end' } },
  { table: 'notifications', look: ['title', 'dedup_key'], set: { title: ERASED, dedup_key: "'erased/' || id" } },
  { table: 'webhook_messages', look: ['data'], set: { data: EMPTY } },
  { table: 'remediation_actions', look: ['detail'], set: { detail: ERASED } },
  { table: 'neuron_states', look: ['series'] },
  { table: 'decisions', look: ['summary', 'reason', 'evidence', 'effect', 'dedup_key'], link: (person) => sql`causes && ${ids(person)}`, set: { summary: ERASED, reason: ERASED, evidence: 'null', effect: 'null', dedup_key: 'null' } },
  { table: 'emissions', look: ['data', 'subject', 'correlation_key'], link: (person) => sql`causes && ${ids(person)}`, set: { data: 'null', subject: 'null', correlation_key: ERASED } },
  { table: 'signals', look: ['envelope', 'source'], link: (person) => sql`key = any (${ids(person)})`, set: { envelope: "json_build_object('specversion', '1.0', 'id', key::text, 'source', 'hal9/erased', 'type', type, 'time', to_char(time at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))::text", source: "'hal9/erased'" } },
  { table: 'browser_sessions', look: [], link: (person) => sql`run_id = any (${runIds(person)})`, set: { checkpoint: 'null' } },
  { table: 'browser_baselines', look: [], link: (person) => sql`run_id = any (${runIds(person)})` },
  { table: 'run_events', look: ['data'], link: (person) => sql`(type = 'progress' and run_id = any (${runIds(person)}))`, set: { data: EMPTY } },
  { table: 'runs', look: ['tags', 'progress'], link: (person) => sql`run_id = any (${runIds(person)})`, set: { tags: "'{}'", progress: 'null' } },
  { table: 'access_exports', look: [], notes: true, link: (person) => sql`subjects && ${[...person.subjects]}::bytea[]`, set: { state: "'expired'", blob: 'null', sealed: 'null' } },
  // What providers keep is unreadable without the key; the row stays, so that they can be told to let go of it.
  { table: 'contents', look: [], link: (person) => sql`subject = any (${[...person.subjects]}::bytea[])`, set: { media_type: ERASED } },
  { table: 'memories', look: [], notes: true, link: (person) => sql`subject = any (${[...person.subjects]}::bytea[])` },
  { table: 'privacy_changes', look: [], notes: true, link: (person) => sql`(finished_at is null and subjects && ${[...person.subjects]}::bytea[])`, set: { state: "'superseded'", reasons: "'{}'", sealed: 'null', finished_at: 'now()' } },
  { table: 'invitations', look: ['email'] },
  { table: 'audit_personal', look: ['fields'] },
  { table: 'audit_acts', look: ['personal'], set: { personal: EMPTY } },
];

/** Steps of browser sessions that show or name the person. They go whole: their pictures are of the person's pages. */
function browserSteps(person: Person): RawBuilder<boolean> {
  return sql`(${holds(['name', 'target', 'failure', 'url', 'troubles', 'files'], person.texts)} or session_id in (select id from browser_sessions where org_id = ${person.orgId} and run_id = any (${runIds(person)})))`;
}

/** What becomes of rows of one of HAL9's own tables. */
export interface OwnRows {
  readonly table: string;
  readonly method: 'mask' | 'delete';
  readonly rows: number;
}

/** Where a text was found. */
export interface OwnPlace {
  readonly table: string;
  readonly column: string;
  readonly rows: number;
}

/** A row whose text is sealed. */
export interface SealedRow {
  readonly id: string;
  readonly sealed: Buffer;
}

export type SealedTable = 'webhook_receipts' | 'broker_dead_letters' | 'memories';

/** Rows of it that are sealed with the key of somebody are found by that. */
const NOBODYS: Partial<Record<SealedTable, RawBuilder<boolean>>> = { memories: sql<boolean>`subject_key is null` };

/** Steps from a signal on to what came of what came of it. */
const DEEPEST = 32;
/** Rows of a table that one export carries. */
const MOST_ROWS = 10_000;
const PAGE = 500;

/** What HAL9's own tables hold of a person, whichever aggregate they are of. */
export class OwnPersonalDataStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Rows that an erasure would change now; tables without any are left out. */
  async count(inquiry: OwnInquiry): Promise<OwnRows[]> {
    return this.#database.withOrg(inquiry.orgId, async (tx) => {
      const person = await follow(tx, inquiry);
      const found: OwnRows[] = [];
      for (const own of OWN) {
        const { rows } = await sql<{ rows: number }>`select count(*)::int as rows from ${sql.table(own.table)} where ${condition(own, person)}`.execute(tx);
        if ((rows[0]?.rows ?? 0) > 0) found.push({ table: own.table, method: own.set === undefined ? 'delete' : 'mask', rows: rows[0]?.rows ?? 0 });
      }
      const { rows: steps } = await sql<{ rows: number }>`select count(*)::int as rows from browser_steps where ${browserSteps(person)}`.execute(tx);
      if ((steps[0]?.rows ?? 0) > 0) found.push({ table: 'browser_steps', method: 'delete', rows: steps[0]?.rows ?? 0 });
      return found;
    });
  }

  /** Masks and deletes, all at once. */
  async erase(inquiry: OwnInquiry): Promise<OwnRows[]> {
    return this.#database.withOrg(inquiry.orgId, async (tx) => {
      const person = await follow(tx, inquiry);
      const done: OwnRows[] = [];
      for (const own of OWN) {
        const where = condition(own, person);
        const change = own.set === undefined ? sql`delete from ${sql.table(own.table)}` : sql`update ${sql.table(own.table)} set ${sql.raw(Object.entries(own.set).map(([column, value]) => `${column} = ${value}`).join(', '))}`;
        const { numAffectedRows } = await sql`${change} where ${where}`.execute(tx);
        done.push({ table: own.table, method: own.set === undefined ? 'delete' : 'mask', rows: Number(numAffectedRows ?? 0n) });
      }
      await tx.deleteFrom('signal_subjects').where('subject', 'in', inquiry.subjects.length === 0 ? [Buffer.alloc(0)] : [...inquiry.subjects]).execute();
      return done;
    });
  }

  /** Steps of browser sessions, which only the role of background work may delete. */
  async eraseStepsAcrossOrganisations(inquiry: OwnInquiry): Promise<OwnRows> {
    const person = await this.#database.withOrg(inquiry.orgId, (tx) => follow(tx, inquiry));
    const { numAffectedRows } = await sql`delete from browser_steps where org_id = ${inquiry.orgId} and ${browserSteps(person)}`.execute(this.#database.system);
    return { table: 'browser_steps', method: 'delete', rows: Number(numAffectedRows ?? 0n) };
  }

  /** The rows themselves, at most ten thousand a table. */
  async read(inquiry: OwnInquiry): Promise<{ table: string; rows: Record<string, unknown>[] }[]> {
    return this.#database.withOrg(inquiry.orgId, async (tx) => {
      const person = await follow(tx, inquiry);
      const read: { table: string; rows: Record<string, unknown>[] }[] = [];
      for (const own of OWN) {
        if (own.notes === true) continue;
        const { rows } = await sql<{ row: Record<string, unknown> }>`select to_jsonb(t) - 'org_id' as row from ${sql.table(own.table)} t where ${condition(own, person)} limit ${MOST_ROWS}`.execute(tx);
        if (rows.length > 0) read.push({ table: own.table, rows: rows.map(({ row }) => row) });
      }
      const { rows: steps } = await sql<{ row: Record<string, unknown> }>`select to_jsonb(t) - 'org_id' as row from browser_steps t where ${browserSteps(person)} limit ${MOST_ROWS}`.execute(tx);
      if (steps.length > 0) read.push({ table: 'browser_steps', rows: steps.map(({ row }) => row) });
      return read;
    });
  }

  /** Blobs of browser sessions of the person's runs, what their steps showed, checkpoints and baselines, and copies that were made for them. */
  async blobs(inquiry: OwnInquiry): Promise<string[]> {
    return this.#database.withOrg(inquiry.orgId, async (tx) => {
      const person = await follow(tx, inquiry);
      const { rows } = await sql<{ ref: string }>`
        select checkpoint as ref from browser_sessions where run_id = any (${runIds(person)}) and checkpoint is not null
        union select file ->> 'blob' from browser_steps cross join jsonb_array_elements(files) as file where file ->> 'blob' is not null and session_id in (select id from browser_sessions where run_id = any (${runIds(person)}))
        union select picture from browser_baselines where run_id = any (${runIds(person)})
        union select blob from access_exports where blob is not null and subjects && ${[...inquiry.subjects]}::bytea[]
        union select shown from browser_steps cross join unnest(array[picture, snapshot, actual, baseline, difference]) as shown where shown is not null and session_id in (select id from browser_sessions where run_id = any (${runIds(person)}))`.execute(tx);
      return rows.map(({ ref }) => ref);
    });
  }

  /** Runs under these keys, by the read model. */
  async runsOf(orgId: string, keyIds: readonly string[]): Promise<{ runId: string; open: boolean }[]> {
    if (keyIds.length === 0) return [];
    return this.#database.withOrg(orgId, (tx) => runsUnder(tx, keyIds));
  }

  /** People with an account here whom these texts name. @returns ids. */
  async accounts({ orgId, texts }: OwnInquiry): Promise<string[]> {
    return this.#database.withOrg(orgId, async (tx) => (await sql<{ id: string }>`select id from users where lower(email) = any (${[...texts]}::text[]) or lower(user_name) = any (${[...texts]}::text[])`.execute(tx)).rows.map(({ id }) => id));
  }

  /** By id, in pages. @param after id of the last of the page before. */
  async sealed(orgId: string, table: SealedTable, after: string): Promise<SealedRow[]> {
    return this.#database.withOrg(orgId, async (tx) => (await sql<SealedRow>`select id, sealed from ${sql.table(table)} where sealed is not null and ${NOBODYS[table] ?? sql<boolean>`true`} and id > ${after}::uuid order by id limit ${PAGE}`.execute(tx)).rows);
  }

  async removeSealed(orgId: string, table: SealedTable, of: readonly string[]): Promise<number> {
    if (of.length === 0) return 0;
    return this.#database.withOrg(orgId, async (tx) => Number((await sql`delete from ${sql.table(table)} where id = any (${[...of]}::uuid[])`.execute(tx)).numAffectedRows ?? 0n));
  }

  /** Looks into every column that can hold text of every table there is, whatever is known of it. */
  async scan({ orgId, texts }: Pick<OwnInquiry, 'orgId' | 'texts'>): Promise<OwnPlace[]> {
    if (texts.length === 0) return [];
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows: columns } = await sql<{ table: string; columns: string[] }>`
        select c.relname as table, array_agg(a.attname::text order by a.attnum) as columns
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and has_table_privilege(c.oid, 'select')
          and exists (select from pg_attribute o where o.attrelid = c.oid and o.attname = 'org_id')
          and a.atttypid in ('text'::regtype, 'varchar'::regtype, 'json'::regtype, 'jsonb'::regtype, 'text[]'::regtype, 'inet'::regtype)
        group by 1 order by 1`.execute(tx);
      const places: OwnPlace[] = [];
      for (const { table, columns: names } of columns) {
        const counts = names.map((name, at) => sql`count(*) filter (where ${holds([name], texts)})::int as ${sql.ref(`c${at}`)}`);
        const { rows } = await sql<Record<string, number>>`select ${sql.join(counts)} from ${sql.table(table)} where org_id = ${orgId}`.execute(tx);
        for (const [at, column] of names.entries()) {
          const count = rows[0]?.[`c${at}`] ?? 0;
          if (count > 0) places.push({ table, column, rows: count });
        }
      }
      return places;
    });
  }
}

/** From whom the person is to what is theirs: signals that name them or were said to be about them, and all that rests on these. */
async function follow(tx: Tx, inquiry: OwnInquiry): Promise<Person> {
  const { texts, subjects, keyIds } = inquiry;
  const runs = await runsUnder(tx, keyIds);
  const { rows } = await sql<{ key: string }>`
    select key from signals where ${holds(['envelope', 'source'], texts)} union select key from signal_subjects where subject = any (${[...subjects]}::bytea[])`.execute(tx);
  const all = new Set(rows.map(({ key }) => key));
  let front = [...all];
  for (let depth = 0; front.length > 0 && depth < DEEPEST; depth += 1) {
    const { rows: next } = await sql<{ id: string }>`select id from emissions where causes && ${front}::uuid[] union select id from decisions where causes && ${front}::uuid[]`.execute(tx);
    front = next.map(({ id }) => id).filter((id) => !all.has(id));
    for (const id of front) all.add(id);
  }
  return { ...inquiry, ids: [...all], runIds: runs.map(({ runId }) => runId) };
}

async function runsUnder(tx: Tx, keyIds: readonly string[]): Promise<{ runId: string; open: boolean }[]> {
  if (keyIds.length === 0) return [];
  const { rows } = await sql<{ runId: string; open: boolean }>`select run_id as "runId", closed_at is null as open from runs where run_id like '%~k:%' and right(run_id, 34) = any (${keyIds.map((id) => `k:${id}`)}::text[])`.execute(tx);
  return rows;
}

/** Rows of the person that are not erased yet. */
function condition({ look, link, set }: OwnTable, person: Person): RawBuilder<boolean> {
  const ways = [...(look.length === 0 ? [] : [holds(look, person.texts)]), ...(link === undefined ? [] : [link(person)])];
  const theirs = sql<boolean>`(${sql.join(ways, sql` or `)})`;
  if (set === undefined) return theirs;
  return sql`${theirs} and (${sql.raw(Object.entries(set).map(([column, value]) => `${column} is distinct from (${value})`).join(' or '))})`;
}

function holds(columns: readonly string[], texts: readonly string[]): RawBuilder<boolean> {
  const text = sql.join(columns.map((column) => sql`${sql.ref(column)}::text`));
  return sql`exists (select from unnest(${[...texts]}::text[]) w (w) where position(w.w in lower(concat_ws(E'\n', ${text}))) > 0)`;
}
