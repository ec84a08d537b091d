import { PrivacyTaskStore, type PrivacyTask } from '../../database/privacy-tasks.ts';
import type { Database } from '../../database/database.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import type { ChangedTable, DataSource, ExportedRecords, Remainder, SourcePlan, SubjectInquiry } from '../../platform/privacy/data-source.ts';
import { readRecordAnnotations } from '../../platform/privacy/record-annotations.ts';
import type { OpenPrivacySource } from '../../platform/privacy/sources.ts';
import { sealTask } from '../../platform/privacy/tasks.ts';
import { HalError } from '../../schemas/errors.ts';
import { manualAnnotationsSchema } from '../../schemas/privacy/record-annotations.ts';
import type { HandWorkFinder } from './change-by-hand.ts';

/** What has no API: people are given tasks, and the erasure is not complete before they say that it is done. */
export class ManualDataSource implements DataSource {
  readonly id: string;
  readonly name: string;
  readonly turn = 'together';
  readonly #tasks: Readonly<Record<string, { readonly instructions: string; readonly category?: string | undefined; readonly keep?: string | undefined }>>;
  readonly #store: PrivacyTaskStore;
  readonly #keys: KeyRing;

  constructor(source: OpenPrivacySource, { database, keys }: { readonly database: Database; readonly keys: KeyRing }) {
    this.id = source.id;
    this.name = source.name;
    this.#tasks = readRecordAnnotations(manualAnnotationsSchema, source.annotations).tasks;
    this.#store = new PrivacyTaskStore(database);
    this.#keys = keys;
  }

  plan(inquiry: SubjectInquiry): Promise<SourcePlan> {
    const tables = Object.entries(this.#tasks).map(([table, { category }]) => {
      const kept = this.#keptBy(table, inquiry);
      return { table, method: kept === undefined ? ('delete' as const) : ('none' as const), why: kept ?? `by hand${category === undefined ? '' : `: ${category}`}`, rows: 1, shared: 0 };
    });
    return Promise.resolve({ refusals: [], looksUpBy: 'any', tables });
  }

  async erase(inquiry: SubjectInquiry, _count: (changed: readonly ChangedTable[]) => Promise<void>): Promise<void> {
    const wanted = Object.entries(this.#tasks).filter(([name]) => this.#keptBy(name, inquiry) === undefined);
    const tasks = await this.#store.ensure(inquiry.orgId, { erasureId: inquiry.requestId }, this.name, wanted.map(([name, { instructions }]) => ({ ...sealTask(this.#keys, inquiry.orgId, inquiry.identities), name, instructions })));
    const waiting = tasks.filter(({ state }) => state !== 'done');
    if (waiting.length > 0) throw new HalError('Conflict', waiting.map(toDo).join('; '));
  }

  async rescan(inquiry: SubjectInquiry): Promise<readonly Remainder[]> {
    const tasks = await this.#store.of(inquiry.orgId, { erasureId: inquiry.requestId }, this.name);
    return Object.keys(this.#tasks).flatMap((table): Remainder[] => {
      const kept = this.#keptBy(table, inquiry) ?? null;
      const task = tasks.find(({ name }) => name === table);
      return task?.state === 'done' ? [] : [{ table, column: 'by hand', rows: 1, kept, ...(task === undefined ? {} : { remedy: toDo(task) }) }];
    });
  }

  /** What people must add to the copy themselves. */
  async *export(_inquiry: SubjectInquiry): AsyncIterable<ExportedRecords> {
    for (const [table, { category }] of Object.entries(this.#tasks)) yield { table, ...(category === undefined ? {} : { about: category }), rows: [{ note: 'kept where no program reaches it; ask for it' }] };
    await Promise.resolve();
  }

  #keptBy(table: string, { holds }: SubjectInquiry): string | undefined {
    const hold = holds.find((one) => one.source === this.name && one.table === table);
    return hold === undefined ? this.#tasks[table]?.keep : `legal hold ${hold.id}: ${hold.reason}`;
  }
}

/** What people do by hand when data of the person change; consents are kept only where `consent` says what to do. */
export function manualWork(source: OpenPrivacySource): HandWorkFinder {
  const tasks = Object.entries(readRecordAnnotations(manualAnnotationsSchema, source.annotations).tasks);
  return {
    id: source.id,
    name: source.name,
    knows: 'any',
    find: ({ change: { kind } }) =>
      Promise.resolve({
        looksUpBy: 'any',
        work: tasks
          .filter(([, { consent }]) => kind !== 'consent' || consent !== undefined)
          .map(([name, { rectify, restrict, consent }]) => ({ name, rows: 1, instructions: { rectification: rectify, restriction: restrict, consent }[kind] })),
      }),
  };
}

function toDo({ id, name, state, note, dueAt }: PrivacyTask): string {
  return state === 'refused' ? `${name}: refused by whoever was to do it (task ${id}): ${note ?? ''}` : `${name}: somebody must do it by ${dueAt.toISOString().slice(0, 10)} (task ${id}, ${state})`;
}
