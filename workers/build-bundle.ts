import { loadConfig } from '../platform/config/config.ts';
import { discoverProjects, projectRoots } from '../platform/operations/discovery.ts';
import { loadBundle } from './bundle.ts';

/** `npm run build:workflows`: builds the workflow bundle ahead, so that the first start of a worker takes no webpack time. */
const projects = await discoverProjects(projectRoots(loadConfig(process.env).HAL9_OPERATIONS));
const bundle = await loadBundle(projects);
process.stdout.write(`workflow bundle ${bundle.hash}, ${(bundle.code.length / 1024).toFixed(0)} KiB\n`);
