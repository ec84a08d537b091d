import { Client } from 'undici';

/** What users do, and how often of a hundred. */
export const MIX = { read: 48, list: 20, signal: 14, start: 7, message: 6, stream: 5 } as const;
export type Act = keyof typeof MIX;

const ACTS = Object.entries(MIX).flatMap(([act, share]) => Array.from({ length: share }, () => act as Act));
/** A stream is left after its first event, or after this time, milliseconds. */
const STREAM_MS = 10_000;
const REQUEST_MS = 30_000;
/** Run ids that reads choose from. */
const REMEMBERED = 500;

export interface Target {
  readonly url: string;
  readonly apiKey: string;
}

/** People with a connection each. They share what they know: the runs that were started. */
export class Users {
  readonly #clients: Client[];
  readonly #headers: Record<string, string>;
  readonly #url: string;
  readonly #recent: string[] = [];
  readonly #waiting: string[] = [];
  #sent = 0;

  constructor(target: Target, count: number) {
    this.#url = target.url;
    this.#headers = { authorization: `Bearer ${target.apiKey}`, 'content-type': 'application/json' };
    this.#clients = Array.from({ length: count }, () => this.#connect());
  }

  get count(): number {
    return this.#clients.length;
  }

  /** The n-th request. @throws {Error} when the answer is not the expected one. */
  async act(user: number, n: number): Promise<Act> {
    const client = this.#clients[user];
    if (client === undefined) throw new Error(`no user ${user}`);
    // A step of 37 goes through all hundred, so that each second has its mix.
    const act = this.#possible(ACTS[(n * 37) % ACTS.length] ?? 'read');
    await this.#do(act, client, user);
    return act;
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.destroy()));
  }

  #connect(): Client {
    return new Client(this.#url, { pipelining: 1, headersTimeout: REQUEST_MS, bodyTimeout: REQUEST_MS, connect: { timeout: REQUEST_MS } });
  }

  /** Before there is a run there is nothing to read. */
  #possible(wanted: Act): Act {
    if (wanted === 'message' && this.#waiting.length === 0) return 'start';
    return (wanted === 'read' || wanted === 'stream') && this.#recent.length === 0 ? 'start' : wanted;
  }

  async #do(act: Act, client: Client, user: number): Promise<void> {
    const n = (this.#sent += 1);
    switch (act) {
      case 'read':
        return void (await this.#ask(client, 'GET', `/v1/runs/${this.#any()}`, undefined, 200));
      case 'list':
        return void (await this.#ask(client, 'GET', '/v1/runs?type=load-errand&limit=20', undefined, 200));
      case 'signal':
        return void (await this.#ask(client, 'POST', '/v1/signals', { id: `load-${process.pid}-${n}`, source: `load/${user}`, type: 'load.reading', data: { value: n % 100 } }, 202));
      case 'start': {
        const { runId } = (await this.#ask(client, 'POST', '/v1/workflows/load-errand/runs', { input: { number: n, seconds: 300 } }, 201)) as { runId: string };
        this.#waiting.push(runId);
        this.#recent.push(runId);
        if (this.#recent.length > REMEMBERED) this.#recent.shift();
        return undefined;
      }
      case 'message':
        return void (await this.#ask(client, 'POST', `/v1/runs/${this.#waiting.shift() ?? ''}/signals/go`, { payload: { by: `user ${user}` } }, 202));
      case 'stream':
        return this.#watch(`/v1/runs/${this.#any()}/stream`);
    }
  }

  #any(): string {
    return this.#recent[Math.floor(Math.random() * this.#recent.length)] ?? '';
  }

  async #ask(client: Client, method: 'GET' | 'POST', path: string, body: unknown, expected: number): Promise<unknown> {
    const answer = await client.request({ method, path, headers: this.#headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    if (answer.statusCode === expected && method === 'GET') {
      await answer.body.dump({ limit: 1024 * 1024 });
      return undefined;
    }
    const text = await answer.body.text();
    if (answer.statusCode !== expected) throw new Error(`${method} ${path.split('?')[0]?.replace(/~[^/]+/, '')}: ${answer.statusCode} ${text.slice(0, 200)}`);
    return JSON.parse(text) as unknown;
  }

  /** Reads up to the first event. A watcher's connection is its own, as a browser's is. */
  async #watch(path: string): Promise<void> {
    const client = this.#connect();
    try {
      const answer = await client.request({ method: 'GET', path, headers: this.#headers, signal: AbortSignal.timeout(STREAM_MS) });
      if (answer.statusCode !== 200) throw new Error(`GET stream: ${answer.statusCode} ${(await answer.body.text()).slice(0, 200)}`);
      for await (const chunk of answer.body) if (String(chunk).includes('data:')) return;
      throw new Error('GET stream: it ended without an event');
    } finally {
      await client.destroy();
    }
  }
}
