import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from 'vitest';
import { cacheFolder } from '../../deploy/local/cache-folder.js';
import { resolveTool, temporalTool, type ResolveOptions, type Tool } from '../../deploy/local/tools.ts';
import { removeFolder, temporaryFolder } from './launched.ts';

/** Writes an executable that says its name. */
function executable(path: string, says: string): string {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho ${says}\n`);
  chmodSync(path, 0o755);
  return path;
}

const says = (path: string): string => execFileSync(path, { encoding: 'utf8' }).trim();

describe('resolveTool', () => {
  let folder: string;
  let server: Server;
  let base: string;
  let archive: Buffer;
  let requests = 0;
  let answer: 'archive' | 'missing' | 'silence' = 'archive';

  beforeAll(async () => {
    server = createServer((_request, response) => {
      requests += 1;
      if (answer === 'archive') response.end(archive);
      else if (answer === 'missing') response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    base = typeof address === 'object' && address !== null ? `http://127.0.0.1:${address.port}/release.tar.gz` : '';
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  beforeEach(() => {
    folder = temporaryFolder();
    executable(join(folder, 'release/gadget'), 'released');
    archive = execFileSync('tar', ['-czf', '-', '-C', join(folder, 'release'), 'gadget']);
    requests = 0;
    answer = 'archive';
  });
  afterEach(() => removeFolder(folder));

  const tool = (changes: Partial<Tool> = {}): Tool => ({
    name: 'gadget',
    version: '1.2.3',
    setting: 'HAL9_GADGET',
    release: { url: base, sha256: createHash('sha256').update(archive).digest('hex') },
    module: { folder, package: 'example.com/gadget', flags: [], minutes: 1 },
    ...changes,
  });
  const progress: string[] = [];
  const options = (env: Record<string, string> = {}): ResolveOptions => ({
    env: { PATH: '/usr/bin:/bin', HOME: folder, XDG_CACHE_HOME: join(folder, 'cache'), ...env },
    progress: (message) => progress.push(message),
    connectMs: 300,
  });
  /** A stand-in for Go that builds what the real one would: an executable at `-o`. */
  const go = (): string => {
    const path = join(folder, 'go/bin/go');
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, '#!/bin/sh\nwhile [ "$1" != "-o" ]; do shift; done\nsleep 0.3\nprintf \'#!/bin/sh\\necho built\\n\' > "$2"\n');
    chmodSync(path, 0o755);
    return join(folder, 'go/bin');
  };

  it('prefers the setting to PATH, PATH to the cache, and the cache to the network', async () => {
    const set = executable(join(folder, 'mine/gadget-7'), 'set');
    executable(join(folder, 'path/gadget'), 'path');
    executable(join(folder, 'cache/hal9/tools/gadget-1.2.3/gadget'), 'cached');
    const path = { PATH: `${join(folder, 'path')}:/usr/bin:/bin` };
    expect(says(await resolveTool(tool(), options({ ...path, HAL9_GADGET: set })))).toBe('set');
    expect(says(await resolveTool(tool(), options(path)))).toBe('path');
    expect(says(await resolveTool(tool(), options()))).toBe('cached');
    expect(requests).toBe(0);
  });

  it('does not take another version from the cache', async () => {
    executable(join(folder, 'cache/hal9/tools/gadget-1.2.2/gadget'), 'old');
    expect(says(await resolveTool(tool(), options()))).toBe('released');
  });

  it('downloads the release into the cache, once', async () => {
    const found = await resolveTool(tool(), options());
    expect(found).toBe(join(folder, 'cache/hal9/tools/gadget-1.2.3/gadget'));
    expect(says(found)).toBe('released');
    await resolveTool(tool(), options());
    expect(requests).toBe(1);
    expect(readdirSync(join(found, '..'))).toEqual(['gadget']);
  });

  it('refuses a download that is not the release, and builds instead', async () => {
    const changed = tool({ release: { url: base, sha256: '0'.repeat(64) } });
    expect(says(await resolveTool(changed, options({ PATH: `${go()}:/usr/bin:/bin` })))).toBe('built');
  });

  it('builds when the network is silent, without waiting for it', async () => {
    answer = 'silence';
    const start = Date.now();
    expect(says(await resolveTool(tool(), options({ PATH: `${go()}:/usr/bin:/bin` })))).toBe('built');
    expect(Date.now() - start).toBeLessThan(5000);
    expect(progress.at(-1)).toBe('Building gadget 1.2.3 with Go, once for this machine; about 1 minutes');
  });

  it('builds once for several that ask at the same time', async () => {
    answer = 'missing';
    const path = { PATH: `${go()}:/usr/bin:/bin` };
    const found = await Promise.all([1, 2, 3].map(() => resolveTool(tool(), options(path))));
    expect(new Set(found).size).toBe(1);
    expect(requests).toBe(1);
  });

  it('says in one sentence why there is none and what helps', async () => {
    answer = 'missing';
    const nowhere = tool();
    const without: Tool = { name: nowhere.name, version: nowhere.version, setting: nowhere.setting, ...(nowhere.release === undefined ? {} : { release: nowhere.release }) };
    await expect(resolveTool(without, options())).rejects.toThrow(
      /^the `gadget` executable is missing \(127\.0\.0\.1:\d+ answered 404; it cannot be built\): install gadget 1\.2\.3 on your PATH, or Go 1\.26 to let HAL9 build it, or set HAL9_GADGET to an executable you have\.$/,
    );
    expect(existsSync(join(folder, 'cache/hal9/tools/gadget-1.2.3/gadget'))).toBe(false);
  });

  it('refuses a setting that names no executable, rather than take another', async () => {
    await expect(resolveTool(tool(), options({ HAL9_GADGET: join(folder, 'none') }))).rejects.toThrow(/HAL9_GADGET names \S+\/none, which is no executable file/);
  });

  it('stops a build when it is given up', async () => {
    answer = 'missing';
    const abort = new AbortController();
    setTimeout(() => abort.abort(new Error('given up')), 100);
    await expect(resolveTool(tool(), { ...options({ PATH: `${go()}:/usr/bin:/bin` }), signal: abort.signal })).rejects.toThrow('given up');
  });
});

describe('the Temporal CLI', () => {
  it('is pinned to the same version in the tool module', () => {
    const mod = readFileSync(join(import.meta.dirname, '../../deploy/tools/temporal/go.mod'), 'utf8');
    expect(mod).toContain(`github.com/temporalio/cli v${temporalTool().version} `);
    expect(mod).toContain('tool github.com/temporalio/cli/cmd/temporal');
  });

  it('is downloaded only with a known checksum', () => {
    for (const [platform, arch] of [['linux', 'x64'], ['linux', 'arm64'], ['darwin', 'x64'], ['darwin', 'arm64']] as const) {
      const { release, version } = temporalTool(platform, arch);
      expect(release?.sha256).toMatch(/^[0-9a-f]{64}$/);
      expect(release?.url).toBe(`https://temporal.download/cli/archive/v${version}?platform=${platform}&arch=${arch === 'x64' ? 'amd64' : arch}`);
    }
    expect(temporalTool('sunos', 'x64').release).toBeUndefined();
  });

  it('is cached where XDG says', () => {
    expect(cacheFolder({ XDG_CACHE_HOME: '/x', HOME: '/h' })).toBe('/x/hal9');
    expect(cacheFolder({ XDG_CACHE_HOME: 'relative', HOME: '/h' })).toBe('/h/.cache/hal9');
    expect(cacheFolder({ HOME: '/h' })).toBe('/h/.cache/hal9');
  });
});
