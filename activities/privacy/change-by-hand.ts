import { PrivacyTaskStore, type PrivacyTask } from '../../database/privacy-tasks.ts';
import type { Database } from '../../database/database.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import type { ChangeInquiry, ChangePlan, ChangeTarget } from '../../platform/privacy/change-target.ts';
import { sealTask } from '../../platform/privacy/tasks.ts';
import { HalError } from '../../schemas/errors.ts';
import type { SubjectChange } from '../../schemas/privacy/change.ts';

/** What somebody is to do in one place of a source. */
interface HandWork {
  readonly name: string;
  /** Records it is about. */
  readonly rows: number;
  /** Without personal data; default: in general words. */
  readonly instructions?: string | undefined;
}

export interface HandWorkFinder {
  readonly id: string;
  readonly name: string;
  readonly knows: ChangePlan['knows'];
  /** Where something is to be done; nothing where the person is not found. */
  find(inquiry: ChangeInquiry): Promise<{ readonly looksUpBy: ChangePlan['looksUpBy']; readonly work: readonly HandWork[] }>;
}

/** A system that HAL9 cannot write to: people are given tasks, and the change is not complete before they say that all are done. */
export class ChangeByHand implements ChangeTarget {
  readonly #finder: HandWorkFinder;
  readonly #store: PrivacyTaskStore;
  readonly #keys: KeyRing;

  constructor(finder: HandWorkFinder, { database, keys }: { readonly database: Database; readonly keys: KeyRing }) {
    this.#finder = finder;
    this.#store = new PrivacyTaskStore(database);
    this.#keys = keys;
  }

  get id(): string {
    return this.#finder.id;
  }

  get name(): string {
    return this.#finder.name;
  }

  async planChange(inquiry: ChangeInquiry): Promise<ChangePlan> {
    const { looksUpBy, work } = await this.#finder.find(inquiry);
    return { refusals: [], looksUpBy, knows: this.#finder.knows, tables: work.map(({ name, rows }) => ({ table: name, rows })) };
  }

  async change(inquiry: ChangeInquiry): Promise<void> {
    const { work } = await this.#finder.find(inquiry);
    if (work.length > 0) {
      const tasks = work.map(({ name, instructions }) => ({ ...sealTask(this.#keys, inquiry.orgId, inquiry.identities, inquiry.change), name, instructions: instructions ?? inWords(inquiry.change, name) }));
      await this.#store.ensure(inquiry.orgId, { changeId: inquiry.requestId }, this.name, tasks);
    }
    const waiting = await this.#waiting(inquiry);
    if (waiting.length > 0) throw new HalError('Conflict', waiting.join('; '));
  }

  async recheck(inquiry: ChangeInquiry): Promise<readonly string[]> {
    const waiting = await this.#waiting(inquiry);
    if (waiting.length > 0) return waiting;
    const done = await this.#store.of(inquiry.orgId, { changeId: inquiry.requestId }, this.name);
    const { work } = await this.#finder.find(inquiry);
    return work.filter(({ name }) => !done.some((task) => task.name === name)).map(({ name }) => `${name}: records of the person appeared meanwhile: try again`);
  }

  async #waiting({ orgId, requestId }: ChangeInquiry): Promise<string[]> {
    return (await this.#store.of(orgId, { changeId: requestId }, this.name)).filter(({ state }) => state !== 'done').map(toDo);
  }
}

/** Without a value: the task hands those over. */
function inWords(change: SubjectChange, name: string): string {
  switch (change.kind) {
    case 'rectification':
      return `Correct what is held of the person in ${name}; the values come with the task.`;
    case 'consent':
      return `Note in ${name} that the person has ${change.state === 'given' ? 'given' : 'withdrawn'} the consent ${change.purpose}.`;
    case 'restriction':
      return change.state === 'on' ? `See to it that the person's data in ${name} are kept and used for nothing else (Art. 18 GDPR).` : `The person's data in ${name} may be used again: lift the restriction.`;
    default:
      return change satisfies never;
  }
}

function toDo({ id, name, state, note, dueAt }: PrivacyTask): string {
  return state === 'refused' ? `${name}: refused by whoever was to do it (task ${id}): ${note ?? ''}` : `${name}: somebody must do it by ${dueAt.toISOString().slice(0, 10)} (task ${id}, ${state})`;
}
