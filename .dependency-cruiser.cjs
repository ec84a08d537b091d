/**
 * The house: which folder may import what, and which packages it may use. The build fails on a wrong arrow.
 * Types erase, so `import type` may cross where the design says "types of".
 */
const HOUSE = ['schemas', 'workflows', 'activities', 'neurons', 'platform', 'database', 'workers', 'api', 'clients', 'cli', 'console', 'deploy', 'test'];

/** folder -> folders it may import values from (itself is always allowed). */
const ARROWS = {
  schemas: [],
  neurons: ['schemas'],
  database: ['schemas'],
  platform: ['schemas', 'database'],
  activities: ['schemas', 'neurons', 'platform', 'database'],
  api: ['schemas', 'platform', 'neurons'],
  workers: ['schemas', 'workflows', 'activities', 'neurons', 'platform', 'database'],
  clients: ['schemas'],
  cli: ['clients'],
  console: ['clients'],
};

/** folder -> single files of others that it may import all the same. */
const SHARED = {
  // A step of a workflow that people's own operations take too.
  clients: '^workflows/approval/await-approval\\.ts$',
  // PostgreSQL as a child process, which the embedded stack runs too.
  workers: '^deploy/local/restored-server\\.ts$',
};

const arrows = Object.entries(ARROWS).map(([folder, allowed]) => ({
  name: `house-${folder}`,
  comment: `${folder}/ may import ${allowed.length === 0 ? 'nothing else of the house' : allowed.map((name) => `${name}/`).join(', ')}`,
  severity: 'error',
  from: { path: `^${folder}/` },
  to: {
    path: `^(${HOUSE.filter((other) => other !== folder && !allowed.includes(other)).join('|')})/`,
    ...(SHARED[folder] === undefined ? {} : { pathNot: SHARED[folder] }),
    dependencyTypesNot: ['type-only'],
  },
}));

module.exports = {
  forbidden: [
    ...arrows,
    {
      name: 'workflow-values',
      comment: 'workflow code is deterministic: values only from schemas/names, other workflows and @temporalio/workflow',
      severity: 'error',
      from: { path: '^workflows/' },
      to: { path: '^(schemas/(?!names/)|activities|neurons|platform|database|workers|api|deploy|test)', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'workflow-packages',
      comment: 'no runtime library in the workflow bundle',
      severity: 'error',
      from: { path: '^workflows/' },
      to: { path: 'node_modules', pathNot: 'node_modules/@temporalio/(workflow|common)', dependencyTypesNot: ['type-only'] },
    },
    { name: 'names-are-free', comment: 'schemas/names depends on nothing', severity: 'error', from: { path: '^schemas/names/' }, to: { path: '.+', pathNot: '^schemas/names/' } },
    { name: 'pure-core', comment: 'the neuron core knows no server, no SQL, no Temporal', severity: 'error', from: { path: '^neurons/' }, to: { path: 'node_modules/(@temporalio|express|pg|kysely)' } },
    { name: 'sql-stays', comment: 'SQL on HAL9 tables lives in database/', severity: 'error', from: { path: '^(api|neurons|schemas|workflows|cli|console)/' }, to: { path: 'node_modules/(pg|kysely|pg-copy-streams)', dependencyTypesNot: ['type-only'] } },
    { name: 'no-temporal-in-api', comment: 'the API goes through platform/operations', severity: 'error', from: { path: '^api/' }, to: { path: 'node_modules/@temporalio', dependencyTypesNot: ['type-only'] } },
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    { name: 'dev-in-product', comment: 'the product may not use a dev dependency; what tests of people use is a peer of the package', severity: 'error', from: { pathNot: '^test/|^deploy/local/generate-|^clients/sdk/testing\\.ts|\\.config\\.' }, to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] } },
    { name: 'not-declared', severity: 'error', from: {}, to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] } },
  ],
  options: {
    tsPreCompilationDeps: 'specify',
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(coverage|\\.hal9|\\.cache|deploy/tools)' },
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
