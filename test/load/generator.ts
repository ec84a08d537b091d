import { connect, type Socket } from 'node:net';
import { Users, type Act, type Target } from './users.ts';

/** The process that makes the load, apart from what it loads and from what measures. It is told by messages and answers by them. */
export type Order =
  | { readonly kind: 'users'; readonly target: Target; readonly count: number }
  /** `rate` requests a second, due at even times; what is not answered `patienceSeconds` after the last was due counts as an error. */
  | { readonly kind: 'step'; readonly rate: number; readonly seconds: number; readonly patienceSeconds: number }
  | { readonly kind: 'burst'; readonly port: number; readonly connections: number; readonly seconds: number };

export interface StepResult {
  readonly requests: number;
  readonly answered: number;
  readonly errors: number;
  /** Answered a second, from the first due time to the last answer. */
  readonly perSecond: number;
  /** Milliseconds from when each was due, sorted, of all and of the reads (run and list). */
  readonly all: readonly number[];
  readonly reads: readonly number[];
  /** What went wrong, the first few different ones. */
  readonly failures: readonly string[];
  /** Processor time this process used, seconds. */
  readonly cpuSeconds: number;
}

export interface BurstResult {
  readonly answered: number;
  readonly errors: number;
  readonly seconds: number;
  readonly times: readonly number[];
  readonly failures: readonly string[];
}

let users: Users | undefined;

process.on('message', (order: Order) => {
  obey(order).then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));

async function obey(order: Order): Promise<StepResult | BurstResult | null> {
  if (order.kind === 'burst') return burst(order.port, order.connections, order.seconds);
  if (order.kind === 'step') {
    if (users === undefined) throw new Error('there are no users');
    return step(users, order);
  }
  await users?.close();
  users = new Users(order.target, order.count);
  return null;
}

async function step(people: Users, { rate, seconds, patienceSeconds }: { rate: number; seconds: number; patienceSeconds: number }): Promise<StepResult> {
  const total = Math.round(rate * seconds);
  const all: number[] = [];
  const reads: number[] = [];
  const failures = new Set<string>();
  const idle = Array.from({ length: people.count }, (_, user) => user);
  const queue: number[] = [];
  const cpu = process.cpuUsage();
  const began = performance.now();
  let errors = 0;
  let open = 0;
  let lastAnswer = began;
  const dueAt = (n: number): number => began + (n * 1000) / rate;

  const take = (user: number, n: number): void => {
    open += 1;
    people
      .act(user, n)
      .then(
        (act: Act) => {
          const took = performance.now() - dueAt(n);
          all.push(took);
          if (act === 'read' || act === 'list') reads.push(took);
        },
        (error: unknown) => {
          errors += 1;
          if (failures.size < 5) failures.add(error instanceof Error ? error.message.slice(0, 300) : String(error));
        },
      )
      .finally(() => {
        open -= 1;
        lastAnswer = performance.now();
        const next = queue.shift();
        if (next === undefined) idle.push(user);
        else take(user, next);
      });
  };

  for (let n = 0; n < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - began) * rate) / 1000) + 1);
    for (; n < due; n++) {
      // The one who waited longest comes first, so that everybody has a turn.
      const user = idle.shift();
      if (user === undefined) queue.push(n);
      else take(user, n);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const deadline = performance.now() + patienceSeconds * 1000;
  while ((open > 0 || queue.length > 0) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5));
  const unanswered = total - all.length - errors;
  if (unanswered > 0) failures.add(`${unanswered} requests were not answered in time`);
  const used = process.cpuUsage(cpu);
  const result = { requests: total, answered: all.length, errors: errors + unanswered, perSecond: (all.length * 1000) / (lastAnswer - began), all: all.toSorted((a, b) => a - b), reads: reads.toSorted((a, b) => a - b), failures: [...failures], cpuSeconds: (used.user + used.system) / 1e6 };
  // What is still under way must not reach into the next step.
  queue.length = 0;
  while (open > 0 && performance.now() < deadline + 35_000) await new Promise((resolve) => setTimeout(resolve, 20));
  return result;
}

/** Opens all connections as fast as they come, asks once on each, and keeps every one open until the last was answered. */
async function burst(port: number, connections: number, seconds: number): Promise<BurstResult> {
  const sockets: Socket[] = [];
  const times: number[] = [];
  const failures = new Set<string>();
  const began = performance.now();
  let errors = 0;
  const one = (): Promise<void> =>
    new Promise((resolve) => {
      const at = performance.now();
      const socket = connect(port, '127.0.0.1');
      sockets.push(socket);
      const failed = (why: string): void => {
        errors += 1;
        failures.add(why);
        socket.removeAllListeners().on('error', () => undefined);
        resolve();
      };
      socket.setTimeout(seconds * 1000, () => failed('no answer in time'));
      socket.once('connect', () => socket.write('GET /healthz HTTP/1.1\r\nHost: load\r\n\r\n'));
      socket.once('data', (chunk: Buffer) => {
        if (!chunk.toString('latin1').startsWith('HTTP/1.1 200')) return failed(chunk.toString('latin1').slice(0, 60));
        times.push(performance.now() - at);
        socket.removeAllListeners().on('error', () => undefined);
        socket.setTimeout(0);
        resolve();
      });
      socket.on('error', (error: NodeJS.ErrnoException) => failed(error.code ?? error.message));
      socket.on('close', () => failed('closed without an answer'));
    });
  await Promise.all(Array.from({ length: connections }, one));
  const elapsed = (performance.now() - began) / 1000;
  for (const socket of sockets) socket.destroy();
  return { answered: times.length, errors, seconds: elapsed, times: times.toSorted((a, b) => a - b), failures: [...failures].slice(0, 5) };
}
