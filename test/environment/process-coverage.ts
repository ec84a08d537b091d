/**
 * Lets the shipped processes that a test starts record V8 coverage. Set here, after vitest's own processes have started, so
 * that only their children (which run the TypeScript files as they are) record.
 */
const folder = process.env['HAL9_PROCESS_COVERAGE'];
if (folder !== undefined) process.env['NODE_V8_COVERAGE'] = folder;
