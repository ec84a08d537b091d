import { AsyncLocalStorage, createHook } from 'node:async_hooks';

/** Processor time that one piece of work used so far. */
export interface ProcessorTime {
  /** Microseconds of this thread. */
  readonly microseconds: number;
}

class Account implements ProcessorTime {
  microseconds = 0;
}

const accounts = new AsyncLocalStorage<Account>();
/** Whose code runs now, and whose ran around it. */
let current: Account | undefined;
const around: (Account | undefined)[] = [];
let since = 0;
let open = 0;

/**
 * Callbacks of measured work say when they begin and end; nobody else's costs more than a look. Watched only while measured work is open,
 * because Node calls this around every callback and every promise of the thread.
 */
const watch = createHook({
  before() {
    enter(accounts.getStore());
  },
  after() {
    leave();
  },
});

/**
 * Runs work and counts the processor time of this thread that its code and all that it awaits takes, however much runs between: getrusage(2),
 * `RUSAGE_THREAD`. What threads of the pool, workers and child processes do for it is not seen.
 */
export async function measured<T>(work: (time: ProcessorTime) => Promise<T>): Promise<T> {
  const account = new Account();
  if (open === 0) watch.enable();
  open += 1;
  try {
    return await accounts.run(account, () => {
      enter(account);
      try {
        return work(account);
      } finally {
        leave();
      }
    });
  } finally {
    open -= 1;
    if (open === 0) rest();
  }
}

/** Callbacks that are under way will not say that they end. */
function rest(): void {
  watch.disable();
  turn(undefined);
  around.length = 0;
}

function enter(next: Account | undefined): void {
  around.push(current);
  turn(next);
}

function leave(): void {
  turn(around.pop());
}

function turn(next: Account | undefined): void {
  if (next === current) return;
  const now = threadMicroseconds();
  if (current !== undefined) current.microseconds += now - since;
  since = now;
  current = next;
}

function threadMicroseconds(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}
