import { SingleBar } from 'cli-progress';

/** A progress bar on standard error; lines there when it is no terminal. */
export class Progress {
  readonly #bar: SingleBar | undefined;
  #task = '';

  constructor(total: number) {
    if (!process.stderr.isTTY) return;
    this.#bar = new SingleBar({ format: '{bar} {percentage}%  {task}', stream: process.stderr, hideCursor: true, clearOnComplete: true, barCompleteChar: '█', barIncompleteChar: '░' });
    this.#bar.start(Math.max(1, Math.round(total)), 0, { task: '' });
  }

  /** Says what goes on now; the same words twice are written once. */
  update(done: number, task: string): void {
    if (this.#bar !== undefined) this.#bar.update(Math.round(done), { task });
    else if (task !== this.#task) process.stderr.write(`${task}\n`);
    this.#task = task;
  }

  stop(): void {
    this.#bar?.stop();
  }
}
