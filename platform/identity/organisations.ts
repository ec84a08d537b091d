import { randomUUID } from 'node:crypto';
import type { Act, ActDetails } from '../../database/audit-acts.ts';
import type { Database } from '../../database/database.ts';
import { OrganisationStore, type OrganisationChange, type OrganisationRecord, type OrganisationTree } from '../../database/organisations.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from './caller.ts';

export type Organisation = OrganisationRecord;

export interface OrganisationDraft {
  name: string;
  slug?: string | null | undefined;
  /** Default: that of the organisation above. */
  region?: string | undefined;
  /** The organisation above: the caller's own when left out; null makes one at the top, which only the platform's organisation may. */
  parentId?: string | null | undefined;
}

/** Organisations stand at most so deep below each other, the topmost counted. */
export const DEEPEST_ORGANISATION = 8;

/**
 * The records of organisations: an organisation sees and manages its own and those below it, whatever roles reach; the platform's
 * organisation those of the whole installation. What is in them is another matter (`Grants`).
 */
export class Organisations {
  readonly #store: OrganisationStore;
  readonly #platform: () => Promise<string | undefined>;

  /** @param platform id of the organisation that runs the installation; see `platform-organisation.ts`. */
  constructor(database: Database, platform: () => Promise<string | undefined>) {
    this.#store = new OrganisationStore(database);
    this.#platform = platform;
  }

  /** The caller's own and those below it, oldest first; all for the platform's organisation. */
  async list(caller: Caller, limit: number, after?: { createdAt: Date; id: string }): Promise<Organisation[]> {
    return this.#store.listBelowAcrossOrganisations((await this.#runsPlatform(caller)) ? undefined : caller.orgId, limit, after);
  }

  /** @throws {HalError} `NotFound` also for one that is neither the caller's nor below it. */
  async get(caller: Caller, orgId: string): Promise<Organisation> {
    const [organisation] = await Promise.all([this.#store.findAcrossOrganisations(orgId), this.#assertInReach(caller, orgId)]);
    if (organisation === undefined) throw missing();
    return organisation;
  }

  /**
   * @throws {HalError} `Conflict` when the slug is taken; `NotFound` for a parent out of reach; `InvalidInput` when it would stand too
   *   deep; `Forbidden` at the top.
   */
  async create(caller: Caller, draft: OrganisationDraft): Promise<Organisation> {
    const parentId = draft.parentId === undefined ? caller.orgId : draft.parentId;
    await this.#assertMayHold(caller, parentId);
    const region = draft.region ?? (parentId === null ? 'local' : (await this.get(caller, parentId)).region);
    const orgId = randomUUID();
    const acts = this.#acts(caller, 'organisation.create', orgId, { parentId, region });
    return this.#store.insertAcrossOrganisations({ orgId, name: draft.name, slug: draft.slug ?? null, parentId, region }, acts, (tree) => assertPlace(tree, orgId, parentId));
  }

  /** Renames, or changes slug or region. @throws {HalError} `NotFound`; `Conflict` when the slug is taken. */
  async change(caller: Caller, orgId: string, change: Pick<OrganisationChange, 'name' | 'slug' | 'region'>): Promise<Organisation> {
    await this.get(caller, orgId);
    return this.#change(orgId, change, this.#acts(caller, 'organisation.change', orgId, { fields: Object.keys(change).sort() }));
  }

  /**
   * Puts an organisation elsewhere, with all below it; who reaches it changes within a second.
   * @throws {HalError} `NotFound` when either is out of reach; `Forbidden` for the caller's own or the top; `InvalidInput` for a ring or too deep.
   */
  async move(caller: Caller, orgId: string, parentId: string | null): Promise<Organisation> {
    const before = await this.get(caller, orgId);
    this.#assertBelow(caller, orgId);
    await this.#assertMayHold(caller, parentId);
    const acts = this.#acts(caller, 'organisation.move', orgId, { from: before.parentId, to: parentId });
    return this.#change(orgId, { parentId }, acts, (tree) => assertPlace(tree, orgId, parentId));
  }

  /**
   * Stops everything of an organisation and of all below it within a second: no session, key or sign-in works until it is resumed.
   * @throws {HalError} `NotFound`; `Forbidden` for the caller's own, which nobody could resume.
   */
  async suspend(caller: Caller, orgId: string): Promise<Organisation> {
    const before = await this.get(caller, orgId);
    this.#assertBelow(caller, orgId);
    if (orgId === (await this.#platform())) throw new HalError('Forbidden', 'the organisation that runs the installation cannot be suspended');
    if (before.suspendedAt !== null) return before;
    return this.#change(orgId, { suspendedAt: new Date() }, this.#acts(caller, 'organisation.suspend', orgId, {}));
  }

  /** @throws {HalError} as `suspend`. */
  async resume(caller: Caller, orgId: string): Promise<Organisation> {
    const before = await this.get(caller, orgId);
    this.#assertBelow(caller, orgId);
    if (before.suspendedAt === null) return before;
    return this.#change(orgId, { suspendedAt: null }, this.#acts(caller, 'organisation.resume', orgId, {}));
  }

  async #change(orgId: string, change: OrganisationChange, acts: readonly Act[], check: (tree: OrganisationTree) => void = () => undefined): Promise<Organisation> {
    const organisation = await this.#store.changeAcrossOrganisations(orgId, change, acts, check);
    if (organisation === undefined) throw missing();
    return organisation;
  }

  /** In the caller's log and in that of the organisation it happens to. */
  #acts(caller: Caller, action: string, orgId: string, details: ActDetails): Act[] {
    const act = actOf(caller, action, { kind: 'organisation', id: orgId }, details);
    return orgId === caller.orgId ? [act] : [act, { ...act, orgId }];
  }

  async #runsPlatform(caller: Caller): Promise<boolean> {
    return caller.orgId === (await this.#platform());
  }

  async #assertInReach(caller: Caller, orgId: string): Promise<void> {
    if (orgId === caller.orgId || (await this.#runsPlatform(caller))) return;
    if (!(await this.#store.lineAcrossOrganisations(orgId)).includes(caller.orgId)) throw missing();
  }

  async #assertMayHold(caller: Caller, parentId: string | null): Promise<void> {
    if (parentId !== null) await this.get(caller, parentId);
    else if (!(await this.#runsPlatform(caller))) throw new HalError('Forbidden', 'only the organisation that runs the installation has others at the top');
  }

  #assertBelow(caller: Caller, orgId: string): void {
    if (orgId === caller.orgId) throw new HalError('Forbidden', 'only an organisation above may do this');
  }
}

/** @throws {HalError} `InvalidInput` when it would stand below itself or too deep. */
function assertPlace(tree: OrganisationTree, orgId: string, parentId: string | null): void {
  const refuse = (message: string): HalError => new HalError('InvalidInput', 'the organisation cannot stand there', { errors: [{ path: '/parentId', message }] });
  let depth = 1;
  for (let above = parentId; above !== null; above = tree.get(above) ?? null) {
    if (above === orgId) throw refuse('an organisation cannot stand below itself');
    depth += 1;
  }
  for (let level = [orgId]; ; depth += 1) {
    if (depth > DEEPEST_ORGANISATION) throw refuse(`organisations stand at most ${DEEPEST_ORGANISATION} deep`);
    level = [...tree].filter(([, parent]) => parent !== null && level.includes(parent)).map(([child]) => child);
    if (level.length === 0) return;
  }
}

function missing(): HalError {
  return new HalError('NotFound', 'no such organisation');
}
