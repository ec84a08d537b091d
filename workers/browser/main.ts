import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { Gauge } from 'prom-client';
import { BrowserModel } from '../../activities/browser/browser-model.ts';
import { ChromiumPool } from '../../activities/browser/chromium-pool.ts';
import { SessionWorker } from '../../activities/browser/session-worker.ts';
import { createBrowserActivities } from '../../activities/browser/worker-activities.ts';
import { createCallDependencies } from '../../activities/external/call-dependencies.ts';
import { BrowserBaselineStore } from '../../database/browser-baselines.ts';
import { BrowserLiveViewStore } from '../../database/browser-live-views.ts';
import { BrowserSessionStore } from '../../database/browser-sessions.ts';
import { NeuronStore } from '../../database/neurons.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { browserTaskQueue, TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { once, serveQueue } from '../core/serve.ts';
import { runProcess } from '../process.ts';

/** Works on browser sessions: gives out its slots on the common queue and does the work on its own. */
await runProcess('browser', { temporalWorker: true }, async (context) => {
  const { config, database, keys, logger, registry } = context;
  const workerId = `${hostname().replace(/[^A-Za-z0-9._-]/g, '-').slice(0, 60)}-${randomUUID().slice(0, 8)}`;
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const pool = new ChromiumPool({ slots: config.HAL9_BROWSER_SLOTS, executablePath: config.HAL9_CHROMIUM, pageMegabytes: config.HAL9_BROWSER_PAGE_MB, logger });
  const calls = createCallDependencies({ config, database }, keys, egress);
  const { blobs, connections } = calls;
  const model = new BrowserModel(calls, new NeuronStore(database));
  const worker = new SessionWorker({ pool, store: new BrowserSessionStore(database), baselines: new BrowserBaselineStore(database), blobs, connections, egress, logger, model, workerId, keys, views: new BrowserLiveViewStore(database) });
  const slots = new Gauge({ name: 'hal9_browser_slots', help: 'Slots for browser sessions, by state.', labelNames: ['state'], registers: [registry], collect: () => {
    slots.set({ state: 'free' }, pool.free);
    slots.set({ state: 'taken' }, config.HAL9_BROWSER_SLOTS - pool.free);
  } });
  const activities = createBrowserActivities(worker, workerId);
  const own = browserTaskQueue(workerId);
  try {
    const connection = await context.connectWorker();
    let waiting = 2;
    const onPolling = (): void => {
      waiting -= 1;
      if (waiting === 0) context.ready({ queues: [TASK_QUEUES.browser, own] });
    };
    const bundle = { hash: '', code: '' };
    await Promise.all([
      serveQueue(context, connection, bundle, { queue: own, workflows: false, activities: { runBrowserSegment: activities.runBrowserSegment, takeBrowserTurn: activities.takeBrowserTurn, attendBrowser: activities.attendBrowser, interruptBrowser: activities.interruptBrowser, releaseBrowser: activities.releaseBrowser } }, once(onPolling)),
      serveQueue(context, connection, bundle, { queue: TASK_QUEUES.browser, workflows: false, activities: { claimBrowser: activities.claimBrowser } }, once(onPolling)),
    ]);
  } finally {
    await worker.close();
    await pool.close();
    await egress.close();
  }
});
