import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { score } from '../../deploy/local/demo/score.ts';
import { readSeries, utc } from '../../deploy/local/demo/series.ts';

describe('labelled series', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-series-'));
    await mkdir(join(folder, 'data', 'group'), { recursive: true });
    await writeFile(join(folder, 'data', 'group', 'a.csv'), 'timestamp,value\n2014-01-01 00:00:00,1.5\n2014-01-01 00:05:00,-2\n2014-01-01 00:05:00,3\n');
    await writeFile(join(folder, 'data', 'group', 'b.csv'), 'timestamp,value\r\n2014-01-01 00:00:00,1\r\n');
    await writeFile(join(folder, 'labels.json'), JSON.stringify({ 'group/a.csv': [['2014-01-01 00:05:00.000000', '2014-01-01 00:10:00.000000']], 'group/absent.csv': [['2014-01-01 00:00:00', '2014-01-02 00:00:00']] }));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('are read from the folder of the groups or the one above it, with the windows of the files that are there', async () => {
    const above = await readSeries(folder, join(folder, 'labels.json'));
    expect(await readSeries(join(folder, 'data'), join(folder, 'labels.json'))).toEqual(above);
    expect(above.map((series) => [series.name, series.rows.length, series.windows.length])).toEqual([['group/a.csv', 3, 1], ['group/b.csv', 1, 0]]);
    expect(above[0]?.rows[1]).toEqual({ timeMs: Date.UTC(2014, 0, 1, 0, 5), value: -2 });
  });

  it('say in one sentence what is missing', async () => {
    await expect(readSeries(join(folder, 'nowhere'), join(folder, 'labels.json'))).rejects.toThrow(/there is no folder/);
    await expect(readSeries(folder, join(folder, 'none.json'))).rejects.toThrow(/there is no file/);
    await writeFile(join(folder, 'labels.json'), '[1]');
    await expect(readSeries(folder, join(folder, 'labels.json'))).rejects.toThrow(/not a file of windows/);
    expect(() => utc('yesterday')).toThrow(/is no time/);
  });
});

describe('the score', () => {
  it('counts a window once, its both ends included, and every incident outside as false', () => {
    const series = [
      { name: 'g/a.csv', rows: [], windows: [{ fromMs: 100, toMs: 200 }, { fromMs: 300, toMs: 400 }] },
      { name: 'g/b.csv', rows: [], windows: [] },
    ];
    const incidents = [[100, 'g/a.csv'], [200, 'g/a.csv'], [201, 'g/a.csv'], [150, 'g/b.csv']].map(([openedMs, name]) => ({ series: String(name), openedMs: Number(openedMs) }));
    expect(score(series, incidents)).toEqual([
      { series: 'g/a.csv', labelledWindows: 2, windowsFound: 1, falseIncidents: 1 },
      { series: 'g/b.csv', labelledWindows: 0, windowsFound: 0, falseIncidents: 1 },
    ]);
  });
});
