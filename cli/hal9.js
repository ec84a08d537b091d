#!/usr/bin/env node
// `hal9` in a terminal: the launcher that npm scripts use too, from any folder. Found by address, because the command
// line shares no code with the deployment.
const { launch } = await import(new URL('../deploy/local/launch.js', import.meta.url).href);

process.exit(await launch(process.argv.slice(2)));
