/** What a bench or chaos run is given. */
export interface BenchArguments {
  /** `--name value` pairs of the command line, without the dashes; a flag without a value is `true`. */
  readonly options: Readonly<Record<string, string>>;
  /** A number of the command line. @throws {Error} when it is none. */
  number(name: string, preset: number): number;
  /** Empty folder of its own, removed afterwards; others may enter it, so that a database server of another user can run in it. */
  readonly folder: string;
  /** Says how far it is; never on stdout. */
  readonly progress: (message: string) => void;
  /** Aborts on Ctrl-C; what was started must be ended. */
  readonly signal: AbortSignal;
}

/** What `test/bench/NAME.ts` and `test/chaos/NAME.ts` export as `run`: measures, and answers the fields to print. */
export type Bench = (args: BenchArguments) => Promise<Record<string, unknown>>;
