import type { PoolClient } from 'pg';
import { KEY_CHANNEL, type ApiKeyRecord } from '../../database/api-keys.ts';
import type { Database } from '../../database/database.ts';

/** A record older than this is read again in the background while it still serves, milliseconds. */
const REFRESH_AFTER_MS = 500;
/** A record older than this does not serve: the bound on how long a revoked key can work, should notifications fail. */
const EXPIRE_AFTER_MS = 950;
/** Prefixes held; the oldest leave first. */
const CAPACITY = 10_000;
const RECONNECT_MS = 1000;

interface Entry {
  /** undefined: there was no such key. Remembered too, so that guesses do not all reach the database. */
  record: ApiKeyRecord | undefined;
  readAt: number;
  refreshing: boolean;
}

/**
 * API keys by prefix, never staler than a second. Revocations announced by LISTEN/NOTIFY take effect at once; if the
 * listening connection is down, the age limit alone keeps the promise.
 */
export class KeyCache {
  readonly #database: Database;
  readonly #read: (prefix: string) => Promise<ApiKeyRecord | undefined>;
  readonly #entries = new Map<string, Entry>();
  readonly #reading = new Map<string, Promise<ApiKeyRecord | undefined>>();
  #listener: PoolClient | undefined;
  #connecting: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  /** Grows with every `forget`: a read that began before must not be stored after. */
  #generation = 0;

  constructor(database: Database, read: (prefix: string) => Promise<ApiKeyRecord | undefined>) {
    this.#database = database;
    this.#read = read;
  }

  async get(prefix: string): Promise<ApiKeyRecord | undefined> {
    const entry = this.#entries.get(prefix);
    if (entry === undefined) return this.#load(prefix);
    const age = performance.now() - entry.readAt;
    if (age >= EXPIRE_AFTER_MS) return this.#load(prefix);
    if (age >= REFRESH_AFTER_MS && !entry.refreshing) {
      entry.refreshing = true;
      this.#load(prefix).catch(() => undefined); // the entry expires soon, and then the failure shows
    }
    return entry.record;
  }

  forget(prefix: string): void {
    this.#generation += 1;
    this.#entries.delete(prefix);
    this.#reading.delete(prefix);
  }

  /** Listens for revocations until `close`, reconnecting by itself. */
  listen(): void {
    // Listening holds a connection. A pool of one needs it for reading keys, and the age limit keeps the promise alone.
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

  /** One read at a time for each prefix. */
  #load(prefix: string): Promise<ApiKeyRecord | undefined> {
    const running = this.#reading.get(prefix);
    if (running !== undefined) return running;
    const generation = this.#generation;
    const readAt = performance.now();
    const reading = this.#read(prefix)
      .then((record) => {
        if (generation === this.#generation) this.#store(prefix, { record, readAt, refreshing: false });
        return record;
      })
      .finally(() => {
        if (this.#reading.get(prefix) === reading) this.#reading.delete(prefix);
      });
    this.#reading.set(prefix, reading);
    return reading;
  }

  #store(prefix: string, entry: Entry): void {
    this.#entries.delete(prefix);
    this.#entries.set(prefix, entry);
    if (this.#entries.size <= CAPACITY) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }

  async #connect(): Promise<void> {
    const client = await this.#database.systemPool.connect();
    if (this.#closed) {
      client.release(true);
      return;
    }
    this.#listener = client;
    client.on('notification', (message) => {
      if (message.channel === KEY_CHANNEL && message.payload !== undefined) this.forget(message.payload);
    });
    client.on('error', () => {
      if (this.#listener !== client) return;
      this.#listener = undefined;
      client.release(true);
      this.#later();
    });
    await client.query(`listen ${KEY_CHANNEL}`);
    // What was announced before this connection listened was not heard.
    this.#generation += 1;
    this.#entries.clear();
  }

  #later(): void {
    if (this.#closed) return;
    this.#retry = setTimeout(() => this.listen(), RECONNECT_MS);
    this.#retry.unref();
  }
}
