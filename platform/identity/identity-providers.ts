import { randomUUID } from 'node:crypto';
import type { Database } from '../../database/database.ts';
import { IdentityProviderStore, type IdentityProviderRecord, type ProviderTest } from '../../database/identity-providers.ts';
import { HalError } from '../../schemas/errors.ts';
import { providerSettings, roleMapping, type ProviderChange, type ProviderDraft, type ProviderKind, type ProviderSettings, type RoleMapping } from '../../schemas/rest/identity-providers.ts';
import { actOf } from '../audit/act.ts';
import type { OutsideFailure } from '../connections/failure.ts';
import { fieldErrors } from '../failures/translate.ts';
import { KeyError, type KeyRing } from '../keys/key-ring.ts';
import type { Authority } from './authority.ts';
import type { Caller } from './caller.ts';
import { covers } from './permissions.ts';
import { expand, mayTrustEmail } from './presets.ts';
import { addressesOf, destinationOf, secretNames } from './provider-kinds.ts';
import type { RoleMappings } from './role-mapping.ts';
import { findRole, scopesOf } from './roles.ts';
import { checkSaml } from './saml-metadata.ts';
import { withServiceKey } from './saml-service-key.ts';
import type { Sessions } from './sessions.ts';

/** What may be told about a provider. */
export interface IdentityProvider extends Omit<IdentityProviderRecord, 'orgId' | 'secrets' | 'settings' | 'roleMapping' | 'vouches'> {
  /** Without secrets. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Names of the secret settings that are set. */
  readonly secrets: readonly string[];
  readonly roleMapping: RoleMapping;
  /** What to enter at the provider. */
  readonly addresses: Readonly<Record<string, string>>;
}

/** A provider ready for a sign-in. Keep it no longer than that, and never log it. */
export interface OpenProvider<Settings extends ProviderSettings = ProviderSettings> {
  readonly orgId: string;
  readonly id: string;
  readonly name: string;
  readonly preset: string | null;
  readonly version: number;
  readonly enabled: boolean;
  readonly provisions: boolean;
  readonly roleMapping: RoleMapping;
  readonly settings: Settings;
}

/** A way to sign in, for the page that offers them. */
export interface SignInOption {
  readonly id: string;
  readonly kind: IdentityProviderRecord['kind'];
  readonly name: string;
}

type SettingsOf<Kind extends ProviderKind> = Extract<ProviderSettings, { kind: Kind }>;

/** Uses the settings once, harmlessly. @returns what is wrong, in plain words. A SAML provider is reached by browsers only: see `saml-metadata.ts`. */
export type ProviderChecks = { readonly [Kind in Exclude<ProviderKind, 'saml'>]: (settings: SettingsOf<Kind>, signal: AbortSignal) => Promise<OutsideFailure | undefined> };

export interface IdentityProviderDependencies {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly checks: ProviderChecks;
  readonly roleMappings: RoleMappings;
  readonly authority: Authority;
  readonly sessions: Pick<Sessions, 'forget'>;
  /** Where people reach HAL9, without a slash at the end. */
  readonly publicUrl: string;
}

interface TestOptions {
  /** Whether it must work before it is saved. */
  readonly test: boolean;
  readonly signal: AbortSignal;
}

const PURPOSE = 'identity-providers';
const UNTESTED: ProviderTest = { state: 'untested', lastTestedAt: null, lastFailure: null };

/** Where an organisation's people prove who they are; secrets are sealed at rest. */
export class IdentityProviders {
  readonly #store: IdentityProviderStore;
  readonly #dependencies: IdentityProviderDependencies;

  constructor(dependencies: IdentityProviderDependencies) {
    this.#store = new IdentityProviderStore(dependencies.database);
    this.#dependencies = dependencies;
  }

  /**
   * @throws {HalError} `Conflict` when the name is taken; `InvalidInput` or `ExternalCallFailed` when the test fails; `Forbidden` when
   *   the role mapping gives more than the caller has, or the caller acts as somebody else.
   */
  async create(caller: Caller, draft: ProviderDraft, options: TestOptions): Promise<IdentityProvider> {
    this.#dependencies.authority.assertOwnHands(caller);
    const { preset, settings: drafted } = expand(draft.settings);
    const settings = drafted.kind === 'saml' ? await withServiceKey(drafted) : drafted;
    assertEmailTrust(preset, settings);
    await this.#dependencies.roleMappings.assertMayMap(caller, draft.roleMapping);
    const test = await this.#mustPass(settings, options);
    const id = randomUUID();
    const act = actOf(caller, 'identity-provider.create', { kind: 'identity-provider', id }, { kind: settings.kind, preset, enabled: draft.enabled, provisions: draft.provisions });
    const record = await this.#store.insert(
      {
        orgId: caller.orgId,
        id,
        kind: settings.kind,
        name: draft.name,
        preset,
        ...this.#split(caller.orgId, id, settings),
        enabled: draft.enabled,
        roleMapping: draft.roleMapping,
        provisions: draft.provisions,
        vouches: await this.#dependencies.authority.lasting(caller),
        ...test,
        updatedBy: actorOf(caller),
      },
      act,
    );
    if (record === undefined) throw new HalError('Conflict', `there is an identity provider named "${draft.name}" already`);
    return this.#view(record);
  }

  /** By name; `after` continues a page. */
  async list(caller: Caller, limit: number, after?: string): Promise<IdentityProvider[]> {
    const base = await this.#signInBase(caller.orgId);
    return (await this.#store.list(caller.orgId, limit, after)).map((record) => this.#shown(record, base));
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<IdentityProvider> {
    return this.#view(await this.#record(caller.orgId, id));
  }

  /**
   * @throws {HalError} `NotFound`; `Conflict` for another version or kind, a name that is taken, and when no owner could sign in any
   *   more; `Forbidden` also for the settings when somebody signs in by it who may do more than the caller; as `create` for the rest.
   */
  async change(caller: Caller, id: string, change: ProviderChange, options: TestOptions): Promise<IdentityProvider> {
    this.#dependencies.authority.assertOwnHands(caller);
    const record = await this.#record(caller.orgId, id);
    if (change.version !== undefined && change.version !== record.version) throw new HalError('Conflict', `the identity provider is at version ${record.version}`);
    const before = this.#settings(record);
    const settings = change.settings === undefined ? before : merged(before, change.settings);
    if (change.settings !== undefined) await this.#assertMaySpeakForItsPeople(caller, id);
    assertEmailTrust(record.preset, settings);
    if (change.roleMapping !== undefined) await this.#dependencies.roleMappings.assertMayMap(caller, change.roleMapping);
    const test = change.settings === undefined ? outcomeOf(record) : await this.#mustPass(settings, options);
    const act = actOf(caller, 'identity-provider.update', { kind: 'identity-provider', id }, { changed: Object.keys(change).filter((field) => field !== 'version').sort(), enabled: change.enabled ?? record.enabled });
    const updated = await this.#store.update(
      caller.orgId,
      id,
      record.version,
      {
        name: change.name ?? record.name,
        preset: record.preset,
        ...(change.settings === undefined ? { settings: record.settings, secrets: record.secrets } : this.#split(caller.orgId, id, settings)),
        enabled: change.enabled ?? record.enabled,
        roleMapping: change.roleMapping ?? record.roleMapping,
        provisions: change.provisions ?? record.provisions,
        vouches: change.settings === undefined ? record.vouches : await this.#dependencies.authority.lasting(caller),
        ...test,
        updatedBy: actorOf(caller),
      },
      act,
    );
    switch (updated) {
      case 'missing':
        throw new HalError('Conflict', 'somebody else changed the identity provider meanwhile');
      case 'name-taken':
        throw new HalError('Conflict', `there is an identity provider named "${String(change.name)}" already`);
      case 'last-way-in':
        throw lastWayIn();
      default:
        if (!updated.enabled) this.#dependencies.sessions.forget(caller.orgId);
        return this.#view(updated);
    }
  }

  /** Tests it now and notes the outcome. @throws {HalError} `NotFound`. */
  async test(caller: Caller, id: string, signal: AbortSignal): Promise<IdentityProvider> {
    const record = await this.#record(caller.orgId, id);
    const test = outcome(await this.#check(this.#settings(record), signal));
    await this.#store.noteTest(caller.orgId, id, record.version, test);
    return this.#view({ ...record, ...test });
  }

  /** @throws {HalError} `NotFound`; `Conflict` when no owner could sign in any more. */
  async remove(caller: Caller, id: string): Promise<void> {
    const removal = await this.#store.remove(caller.orgId, id, actOf(caller, 'identity-provider.delete', { kind: 'identity-provider', id }));
    if (removal === 'missing') throw notFound();
    if (removal === 'last-way-in') throw lastWayIn();
    this.#dependencies.sessions.forget(caller.orgId);
  }

  /** The enabled ones, for the sign-in page of the organisation. */
  async options(orgId: string): Promise<SignInOption[]> {
    return (await this.#store.listEnabled(orgId)).map(({ id, kind, name }) => ({ id, kind, name }));
  }

  /**
   * Opens an enabled provider, for a sign-in; no permission is asked.
   * @throws {HalError} `NotFound` when the organisation has none of that id and kind, or it is disabled.
   */
  async open<Kind extends ProviderKind>(orgId: string, id: string, kind: Kind): Promise<OpenProvider<SettingsOf<Kind>>> {
    const record = await this.#store.find(orgId, id);
    if (record === undefined || !record.enabled) throw notFound();
    const settings = this.#settings(record);
    if (!isOfKind(settings, kind)) throw notFound();
    return { ...this.#rules(record), settings };
  }

  /** What decides about somebody the provider sent, of whichever kind, disabled ones too. @returns undefined when there is none. */
  async rules(orgId: string, id: string): Promise<(Omit<OpenProvider, 'settings'> & { readonly kind: IdentityProviderRecord['kind']; readonly trustsEmail: boolean; readonly vouches: readonly string[] }) | undefined> {
    const record = await this.#store.find(orgId, id);
    if (record === undefined) return undefined;
    const { settings } = record;
    const trustsEmail = typeof settings === 'object' && settings !== null && 'trustsEmail' in settings && settings.trustsEmail === true;
    return { ...this.#rules(record), kind: record.kind, trustsEmail, vouches: record.vouches };
  }

  #rules(record: IdentityProviderRecord): Omit<OpenProvider, 'settings'> {
    const { orgId, id, name, preset, version, enabled, provisions } = record;
    return { orgId, id, name, preset, version, enabled, provisions, roleMapping: roleMapping.parse(record.roleMapping) };
  }

  /** Who writes the settings decides who its answers mean (docs/decisions/0270). @throws {HalError} `Forbidden`. */
  async #assertMaySpeakForItsPeople(caller: Caller, id: string): Promise<void> {
    const own = await this.#dependencies.roleMappings.ownRoles(caller.orgId);
    for (const name of await this.#store.rolesOfItsPeople(caller.orgId, id)) {
      const role = findRole(name, own);
      if (role === undefined) continue;
      const wanted = role.reachesDescendants ? ['*'] : scopesOf(name, own);
      if (wanted.some((scope) => !covers(caller.scopes, scope))) throw new HalError('Forbidden', `somebody who signs in by this provider is ${name} and may do more than you; its settings decide who its answers mean`);
    }
  }

  async #record(orgId: string, id: string): Promise<IdentityProviderRecord> {
    const record = await this.#store.find(orgId, id);
    if (record === undefined) throw notFound();
    return record;
  }

  async #mustPass(settings: ProviderSettings, options: TestOptions): Promise<ProviderTest> {
    if (!options.test) return UNTESTED;
    const failure = await this.#check(settings, options.signal);
    if (failure === undefined) return outcome(undefined);
    const detail = `the identity provider was not saved because its test failed: ${failure.message}; ?test=false saves it untested`;
    throw new HalError(failure.retryable ? 'ExternalCallFailed' : 'InvalidInput', detail, failure.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: failure.retryAfterSeconds });
  }

  #check(settings: ProviderSettings, signal: AbortSignal): Promise<OutsideFailure | undefined> {
    const { checks } = this.#dependencies;
    switch (settings.kind) {
      case 'oidc':
        return checks.oidc(settings, signal);
      case 'saml':
        return Promise.resolve(checkSaml(settings, new Date()));
      case 'ldap':
        return checks.ldap(settings, signal);
    }
  }

  /** Settings in the clear and sealed secrets, as they are stored. */
  #split(orgId: string, id: string, settings: ProviderSettings): { settings: Record<string, unknown>; secrets: Buffer | null } {
    const names = secretNames(settings.kind);
    const open = Object.entries(settings).filter(([name]) => !names.includes(name));
    const secret = Object.entries(settings).filter(([name, value]) => names.includes(name) && value !== undefined);
    return { settings: Object.fromEntries(open), secrets: secret.length === 0 ? null : this.#dependencies.keys.seal(orgId, PURPOSE, JSON.stringify(Object.fromEntries(secret)), id) };
  }

  #settings(record: IdentityProviderRecord): ProviderSettings {
    try {
      return providerSettings.parse({ ...asObject(record.settings), ...this.#secrets(record) });
    } catch (error) {
      // A parser's message may quote the settings, so only the key's own failure is passed on.
      throw new HalError('Internal', `the settings of the identity provider ${record.id} cannot be opened`, error instanceof KeyError ? { cause: error } : {});
    }
  }

  #secrets(record: IdentityProviderRecord): Record<string, unknown> {
    return record.secrets === null ? {} : asObject(JSON.parse(this.#dependencies.keys.open(record.orgId, PURPOSE, record.secrets, record.id).toString('utf8')));
  }

  async #view(record: IdentityProviderRecord): Promise<IdentityProvider> {
    return this.#shown(record, await this.#signInBase(record.orgId));
  }

  #shown(record: IdentityProviderRecord, base: string): IdentityProvider {
    const { orgId: _org, secrets: _sealed, vouches: _vouches, ...shown } = record;
    const settings = asObject(record.settings);
    return {
      ...shown,
      settings,
      secrets: Object.keys(this.#secrets(record)),
      roleMapping: roleMapping.parse(record.roleMapping),
      addresses: addressesOf(base, record.id, this.#settings(record)),
    };
  }

  async #signInBase(orgId: string): Promise<string> {
    return `${this.#dependencies.publicUrl}/sign-in/${(await this.#store.slugOf(orgId)) ?? orgId}`;
  }
}

/** @throws {HalError} `InvalidInput` when the result is no valid provider, or a kept secret would go somewhere else; `Conflict` for another kind. */
function merged(before: ProviderSettings, change: Readonly<Record<string, unknown>>): ProviderSettings {
  if ('kind' in change && change['kind'] !== before.kind) throw new HalError('Conflict', `the identity provider is of kind ${before.kind}; make a new one`);
  const parsed = providerSettings.safeParse({ ...before, ...change });
  if (!parsed.success) throw new HalError('InvalidInput', 'the settings do not fit the identity provider', { errors: fieldErrors(parsed.error, '/settings') });
  const kept = secretNames(before.kind).filter((name) => name in before && !(name in change));
  if (kept.length > 0 && destinationOf(parsed.data) !== destinationOf(before)) {
    throw new HalError('InvalidInput', 'a secret that is kept cannot be sent to another address', { errors: kept.map((name) => ({ path: `/settings/${name}`, message: 'enter it again' })) });
  }
  return parsed.data;
}

/** @throws {HalError} `InvalidInput`. */
function assertEmailTrust(preset: string | null, settings: ProviderSettings): void {
  if (settings.trustsEmail && !mayTrustEmail(preset)) {
    throw new HalError('InvalidInput', 'addresses from this provider prove nothing', { errors: [{ path: '/settings/trustsEmail', message: `must be false for ${String(preset)}` }] });
  }
}

function outcome(failure: OutsideFailure | undefined): ProviderTest {
  return { state: failure === undefined ? 'ok' : 'failed', lastTestedAt: new Date(), lastFailure: failure?.message ?? null };
}

function outcomeOf({ state, lastTestedAt, lastFailure }: IdentityProviderRecord): ProviderTest {
  return { state, lastTestedAt, lastFailure };
}

function actorOf(caller: Caller): string {
  return `${caller.actor.kind}:${caller.actor.id}`;
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function isOfKind<Kind extends ProviderKind>(settings: ProviderSettings, kind: Kind): settings is SettingsOf<Kind> {
  return settings.kind === kind;
}

function notFound(): HalError {
  return new HalError('NotFound', 'no such identity provider');
}

function lastWayIn(): HalError {
  return new HalError('Conflict', 'no owner of the organisation could sign in any more; give an owner a password or another provider first');
}
