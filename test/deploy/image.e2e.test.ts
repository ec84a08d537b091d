import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { validate, ValidationSeverity } from 'dockerfile-utils';
import { parse } from 'yaml';
import { z } from 'zod';

const ROOT = join(import.meta.dirname, '../..');
const DOCKERFILE = readFileSync(join(ROOT, 'deploy/docker/Dockerfile'), 'utf8');
/** What the image holds beside the application: gcr.io/distroless/cc-debian12, megabytes. */
const BASE_MB = 25;
const MOST_MB = 500;
const backupValues = z.object({ backups: z.object({ postgresql: z.int() }) });
const pipelineSchema = z.object({
  jobs: z.object({ image: z.object({ strategy: z.object({ matrix: z.object({ include: z.array(z.object({ target: z.enum(['hal9', 'browser', 'recovery']), suffix: z.string(), user: z.string(), postgres: z.int().optional() })) }) }) }) }),
});
const lockSchema = z.object({ packages: z.record(z.string(), z.looseObject({ dev: z.boolean().optional(), devOptional: z.boolean().optional(), optional: z.boolean().optional() })) });

/** There is no container runtime here: what the steps of the Dockerfile do is done in a folder. */
describe('the image', () => {
  const app = mkdtempSync(join(tmpdir(), 'hal9-image-'));
  afterAll(() => rmSync(app, { recursive: true, force: true }));
  const stages = DOCKERFILE.split(/^(?=FROM )/m).slice(1);
  const copied = [...DOCKERFILE.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources = '']) => sources.split(' '));

  it('is a Dockerfile without errors, whose last user in every stage that runs is not root', () => {
    const problems = validate(DOCKERFILE, { instructionWorkdirRelative: ValidationSeverity.ERROR, instructionJSONInSingleQuotes: ValidationSeverity.ERROR });
    expect(problems).toEqual([]);
    const running = stages.filter((stage) => !stage.includes(' AS build'));
    // Backups are PostgreSQL's own.
    const accounts = { hal9: '10001:10001', browser: '10001:10001', recovery: '999:999' };
    expect(Object.fromEntries(running.map((stage) => [/ AS (\S+)/.exec(stage)?.[1], [...stage.matchAll(/^USER (\S+)$/gm)].at(-1)?.[1]]))).toEqual(accounts);
    const major = /^ARG POSTGRES=(\d+)$/m.exec(DOCKERFILE)?.[1] ?? '';
    for (const [, image = ''] of DOCKERFILE.matchAll(/^FROM (\S+)/gm)) expect(image.replace('${POSTGRES}', major)).toMatch(/:(?!latest$)[\w.-]+$/);
    // What the chart takes where it is not told another, and what the pipeline builds.
    expect(String(backupValues.parse(parse(readFileSync(join(ROOT, 'deploy/helm/hal9/values.yaml'), 'utf8'))).backups.postgresql)).toBe(major);
    const built = pipelineSchema.parse(parse(readFileSync(join(ROOT, '.github/workflows/image.yaml'), 'utf8'))).jobs.image.strategy.matrix.include;
    expect(Object.fromEntries(built.map(({ target, user }) => [target, user]))).toEqual(accounts);
    for (const { target, suffix, postgres } of built) expect(suffix).toBe({ hal9: '', browser: '-browser', recovery: `-recovery-${String(postgres)}` }[target]);
    expect(built.map(({ postgres }) => String(postgres))).toContain(major);
    const node = z.object({ dependencies: z.object({ node: z.string() }) }).parse(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))).dependencies.node;
    expect(DOCKERFILE).toContain(`FROM node:${node}-`);
  });

  it('copies what is there and what .dockerignore lets through', () => {
    const allowed = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n').flatMap((line) => (line.startsWith('!') ? [line.slice(1)] : []));
    expect(copied.length).toBeGreaterThan(10);
    for (const source of copied) expect([source, existsSync(join(ROOT, source)), allowed.includes(source)]).toEqual([source, true, true]);
  });

  it('is smaller than 500 MB and loads every process after it was pruned', { timeout: 300_000 }, () => {
    // As `npm ci --omit=dev` leaves it; files are shared with the repository's own, which pruning only unlinks.
    const { packages } = lockSchema.parse(JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')));
    const top = Object.entries(packages).flatMap(([path, { dev = false, devOptional = false, optional = false }]) => (path === '' || dev || (devOptional && !optional) || path.split('node_modules/').length > 2 || !existsSync(join(ROOT, path)) ? [] : [path]));
    const copy = (how: string): unknown => execFileSync('cp', [how, '--parents', ...top, app], { cwd: ROOT, stdio: 'pipe' });
    try {
      copy('-al');
    } catch {
      copy('-a'); // the temporary folder is on another disk
    }
    for (const source of copied) {
      mkdirSync(dirname(join(app, source)), { recursive: true });
      cpSync(join(ROOT, source), join(app, source), { recursive: true });
    }
    execFileSync(process.execPath, ['workers/build-bundle.ts'], { cwd: app, stdio: 'pipe' });
    execFileSync('sh', ['deploy/docker/prune.sh', app], { cwd: app, stdio: 'pipe' });
    const node = statSync(process.execPath).size;
    expect((sizeOf(app) + node) / 1e6 + BASE_MB).toBeLessThan(MOST_MB);
    const processes = ['api/process.ts', 'workers/process.ts', 'workers/core/serve.ts', 'deploy/local/restored-server.ts', 'workers/dispatcher/drains.ts', 'workers/consumers/source-consumer.ts', 'deploy/operator/operator.ts', 'database/migrate.ts'];
    const load = `await Promise.all(${JSON.stringify(processes)}.map((file) => import('./' + file)));
      const { discoverProjects, projectRoots } = await import('./platform/operations/discovery.ts');
      const projects = await discoverProjects(projectRoots(undefined));
      for (const file of projects.flatMap(({ activities }) => activities)) await import(file);
      const { loadBundle } = await import('./workers/bundle.ts');
      console.log((await loadBundle(projects)).hash);
      process.exit(0);`;
    expect(execFileSync(process.execPath, ['--input-type=module', '--eval', load], { cwd: app, encoding: 'utf8' })).toMatch(/^[0-9a-f]{16}\n$/);
  });
});

/** Bytes on disk, every file once. */
function sizeOf(folder: string): number {
  const seen = new Set<number>();
  let total = 0;
  const waiting = [folder];
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    for (const entry of readdirSync(at, { withFileTypes: true })) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) waiting.push(path);
      else {
        const { ino, blocks } = lstatSync(path);
        if (!seen.has(ino)) total += blocks * 512;
        seen.add(ino);
      }
    }
  }
  return total;
}
