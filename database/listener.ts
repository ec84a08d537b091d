import pg from 'pg';

/** A statement that answers nothing for so long means that the connection is dead, ms. */
const PING_TIMEOUT_MS = 5000;
const PING_EVERY_MS = 10_000;
const RETRY_DELAY_MS = 500;

export interface ListenerOptions {
  /** Connection settings of a login that may connect; LISTEN needs no privilege. */
  readonly connection: pg.ClientConfig;
  readonly channels: readonly string[];
  /** `payload` is undefined when anything may have been announced: on connecting, and again after every break. */
  readonly onNotify: (channel: string, payload: string | undefined) => void;
  /** Called when the connection breaks; notifications may have been missed by then, so poll. */
  readonly onLost: (error: Error) => void;
}

/** Listens on channels over a connection of its own, and connects again when it breaks. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#listen();
      } catch (error) {
        this.#options.onLost(error instanceof Error ? error : new Error('the listener broke', { cause: error }));
        await this.#pause(RETRY_DELAY_MS);
      }
    }
  }

  async #listen(): Promise<void> {
    const client = new pg.Client({ ...this.#options.connection, connectionTimeoutMillis: PING_TIMEOUT_MS, query_timeout: PING_TIMEOUT_MS, keepAlive: true });
    const broken = new Promise<never>((_, reject) => client.on('error', reject));
    // The loop below awaits it; without a handler an early break would count as unhandled.
    broken.catch(() => undefined);
    try {
      await client.connect();
      client.on('notification', (message) => this.#options.onNotify(message.channel, message.payload));
      for (const channel of this.#options.channels) await client.query(`listen ${client.escapeIdentifier(channel)}`);
      // What was announced before the LISTEN is found by looking once.
      for (const channel of this.#options.channels) this.#options.onNotify(channel, undefined);
      while (!this.#stop.signal.aborted) {
        await Promise.race([broken, this.#pause(PING_EVERY_MS)]);
        if (!this.#stop.signal.aborted) await client.query('select 1');
      }
    } finally {
      await Promise.race([client.end(), this.#pause(1000)]);
    }
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#stop;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done);
    });
  }
}
