import { SetupError } from '../../deploy/local/setup-error.ts';
import { runCommand } from '../../deploy/local/command.ts';
import { forge } from '../environment/forge.ts';
import { writeArtifacts } from './artifacts.ts';
import { GAS_SNAPSHOT } from './gas.ts';

const VERBS: Readonly<Record<string, () => Promise<boolean>>> = {
  /** Unit tests, fuzz tests and a few runs of the invariants. */
  test: () => through(['test']),
  /** The invariants, ten thousand runs: some minutes. */
  invariants: () => through(['test', '--match-contract', 'Invariants'], { FOUNDRY_INVARIANT_RUNS: '10000' }),
  /** Writes what each test costs in gas. */
  gas: () => through(['snapshot', ...GAS_SNAPSHOT]),
  /** Writes the interfaces and bytecode that TypeScript uses. */
  async artifacts() {
    if (!(await through(['build']))) return false;
    await writeArtifacts();
    return true;
  },
};

async function through(args: readonly string[], settings: Readonly<Record<string, string>> = {}): Promise<boolean> {
  const { code } = await forge(args, settings, (text) => process.stdout.write(text));
  return code === 0;
}

await runCommand(async () => {
  const verb = VERBS[process.argv[2] ?? 'test'];
  if (verb === undefined) throw new SetupError(`there is no ${process.argv[2] ?? ''} of contracts`, `there are: ${Object.keys(VERBS).join(', ')}`);
  if (!(await verb())) process.exitCode = 1;
});
