import type { PoolClient } from 'pg';
import { KEY_CHANNEL } from '../../database/api-keys.ts';
import type { Database } from '../../database/database.ts';
import { IDENTITY_CHANNEL } from '../../database/identity-channel.ts';

/** A record older than this is read again in the background while it still serves, milliseconds. */
const REFRESH_AFTER_MS = 500;
/** A record older than this does not serve: the bound on how long something revoked can work, should notifications fail. */
const EXPIRE_AFTER_MS = 950;
/** Records held of each kind; the oldest leave first. */
const CAPACITY = 10_000;
const RECONNECT_MS = 1000;

interface Entry<T> {
  /** undefined: there was nothing. Remembered too, so that guesses do not all reach the database. */
  record: T | undefined;
  readAt: number;
  refreshing: boolean;
  restsOn: readonly string[];
}

/** What a kind of records is told. */
interface Forgetful {
  forget(key: string): void;
  forgetRestingOn(orgId: string): void;
  forgetAll(): void;
}

/**
 * Everything that decides whether a credential works, never staler than a second in any process: keys, sessions, rights. Changes that
 * are announced by LISTEN/NOTIFY take effect at once; if the listening connection is down, the age limit alone keeps the promise.
 */
export class CredentialCache {
  readonly #database: Database;
  readonly #kinds: Forgetful[] = [];
  #listener: PoolClient | undefined;
  #connecting: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * A kind of records, each found by one text.
   * @param read from the database; undefined when there is nothing.
   * @param restsOn ids of the organisations whose changes make a record stale.
   */
  kind<T>(read: (key: string) => Promise<T | undefined>, restsOn: (record: T) => readonly string[]): CachedKind<T> {
    const kind = new CachedKind(read, restsOn);
    this.#kinds.push(kind);
    return kind;
  }

  /** Listens for changes until `close`, reconnecting by itself. */
  listen(): void {
    // Listening holds a connection. A pool of one needs it for reading, and the age limit keeps the promise alone.
    if (this.#database.systemPool.options.max < 2) return;
    this.#connecting = this.#connect().catch(() => this.#later());
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#connecting;
    this.#listener?.release(true);
    this.#listener = undefined;
  }

  async #connect(): Promise<void> {
    const client = await this.#database.systemPool.connect();
    if (this.#closed) {
      client.release(true);
      return;
    }
    this.#listener = client;
    client.on('notification', ({ channel, payload }) => {
      if (payload === undefined) return;
      for (const kind of this.#kinds) {
        if (channel === KEY_CHANNEL) kind.forget(payload);
        else if (channel === IDENTITY_CHANNEL) kind.forgetRestingOn(payload);
      }
    });
    client.on('error', () => {
      if (this.#listener !== client) return;
      this.#listener = undefined;
      client.release(true);
      this.#later();
    });
    await client.query(`listen ${IDENTITY_CHANNEL}`);
    await client.query(`listen ${KEY_CHANNEL}`);
    // What was announced before this connection listened was not heard.
    for (const kind of this.#kinds) kind.forgetAll();
  }

  #later(): void {
    if (this.#closed) return;
    this.#retry = setTimeout(() => this.listen(), RECONNECT_MS);
    this.#retry.unref();
  }
}

/** Records of one kind; made by {@link CredentialCache.kind}. */
export class CachedKind<T> implements Forgetful {
  readonly #read: (key: string) => Promise<T | undefined>;
  readonly #restsOn: (record: T) => readonly string[];
  readonly #entries = new Map<string, Entry<T>>();
  readonly #byOrganisation = new Map<string, Set<string>>();
  readonly #reading = new Map<string, Promise<T | undefined>>();
  /** Grows whenever something is forgotten: a read that began before must not be stored after. */
  #generation = 0;

  constructor(read: (key: string) => Promise<T | undefined>, restsOn: (record: T) => readonly string[]) {
    this.#read = read;
    this.#restsOn = restsOn;
  }

  async get(key: string): Promise<T | undefined> {
    const entry = this.#entries.get(key);
    if (entry === undefined) return this.#load(key);
    const age = performance.now() - entry.readAt;
    if (age >= EXPIRE_AFTER_MS) return this.#load(key);
    if (age >= REFRESH_AFTER_MS && !entry.refreshing) {
      entry.refreshing = true;
      this.#load(key).catch(() => undefined); // the entry expires soon, and then the failure shows
    }
    return entry.record;
  }

  forget(key: string): void {
    this.#generation += 1;
    this.#drop(key);
    this.#reading.delete(key);
  }

  forgetRestingOn(orgId: string): void {
    this.#generation += 1;
    this.#reading.clear();
    for (const key of this.#byOrganisation.get(orgId) ?? []) this.#drop(key);
  }

  forgetAll(): void {
    this.#generation += 1;
    this.#reading.clear();
    this.#entries.clear();
    this.#byOrganisation.clear();
  }

  /** One read at a time for each key. */
  #load(key: string): Promise<T | undefined> {
    const running = this.#reading.get(key);
    if (running !== undefined) return running;
    const generation = this.#generation;
    const readAt = performance.now();
    const reading = this.#read(key)
      .then((record) => {
        if (generation === this.#generation) this.#store(key, { record, readAt, refreshing: false, restsOn: record === undefined ? [] : this.#restsOn(record) });
        return record;
      })
      .finally(() => {
        if (this.#reading.get(key) === reading) this.#reading.delete(key);
      });
    this.#reading.set(key, reading);
    return reading;
  }

  #store(key: string, entry: Entry<T>): void {
    this.#drop(key);
    this.#entries.set(key, entry);
    for (const orgId of entry.restsOn) {
      const keys = this.#byOrganisation.get(orgId);
      if (keys === undefined) this.#byOrganisation.set(orgId, new Set([key]));
      else keys.add(key);
    }
    if (this.#entries.size <= CAPACITY) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#drop(oldest);
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    for (const orgId of entry.restsOn) {
      const keys = this.#byOrganisation.get(orgId);
      keys?.delete(key);
      if (keys?.size === 0) this.#byOrganisation.delete(orgId);
    }
  }
}
