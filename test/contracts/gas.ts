/** Arguments of `forge snapshot`: every test that costs the same each time. */
export const GAS_SNAPSHOT = ['--snap', 'contracts/gas-snapshot.txt', '--no-match-test', 'testFuzz|invariant'] as const;
