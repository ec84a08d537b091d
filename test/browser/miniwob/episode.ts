import type { Browser } from 'playwright-core';
import { z } from 'zod';
import { LiveSession } from '../../../activities/browser/live-session.ts';
import { runFlow, type Journal } from '../../../activities/browser/flow-runner.ts';
import type { Flow } from '../../../schemas/browser/flow.ts';
import { renamingScript } from './renaming.ts';

/** The page counts by the clock; a busy machine must not decide over right and wrong. */
const EPISODE_MS = 120_000;

const episodeSchema = z.object({ done: z.boolean(), reward: z.number(), reason: z.string() });

export interface EpisodeOutcome {
  /** From -1 to 1, without time penalty. */
  readonly reward: number;
  /** Why it is not 1. */
  readonly reason: string;
}

/** Episodes are short and have no side effects: nothing has to outlive the process. */
const NOTHING_KEPT: Journal = {
  begun: new Set(),
  begin: async () => undefined,
  record: async () => undefined,
  checkpoint: async () => undefined,
};

export interface Episode {
  readonly url: string;
  readonly flow: Flow;
  readonly seed: string;
  /** Whether ids and classes of the page are others than its author's. */
  readonly renamed: boolean;
}

/** Plays one episode of a task with a flow, which is given the instruction as `input.instruction` and sees only the page. */
export async function playEpisode(browser: Browser, { url, flow, seed, renamed }: Episode): Promise<EpisodeOutcome> {
  const context = await browser.newContext({ viewport: flow.viewport });
  if (renamed) await context.addInitScript({ content: renamingScript(seed) });
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(new Error('the episode took too long')), EPISODE_MS);
  try {
    const session = await LiveSession.begin(await context.newPage(), flow, () => undefined);
    const page = session.page();
    page.setDefaultTimeout(EPISODE_MS);
    await page.goto(url);
    await page.evaluate(`Math.seedrandom(${JSON.stringify(seed)}); core.EPISODE_MAX_TIME = ${String(EPISODE_MS)}; core.startEpisodeReal()`);
    await page.waitForFunction('typeof WOB_TASK_READY === "undefined" || WOB_TASK_READY !== false');
    const instruction = z.string().parse(await page.evaluate('(() => { const said = core.getUtterance(); return typeof said === "string" ? said : said.utterance; })()'));
    let failure = '';
    await runFlow({
      flow,
      input: { instruction },
      session,
      journal: NOTHING_KEPT,
      ports: {
        signal: abort.signal,
        secret: async () => {
          throw new Error('there is no vault here');
        },
        keep: async () => '',
        compare: async () => {
          throw new Error('tasks of MiniWoB++ compare no pictures');
        },
      },
    }).catch((error: unknown) => {
      failure = error instanceof Error ? error.message : String(error);
    });
    const outcome = episodeSchema.parse(await page.evaluate('({ done: WOB_DONE_GLOBAL, reward: WOB_RAW_REWARD_GLOBAL, reason: String(WOB_REWARD_REASON ?? "") })'));
    if (outcome.done && outcome.reward === 1) return { reward: 1, reason: '' };
    return { reward: outcome.done ? outcome.reward : 0, reason: failure || outcome.reason || (outcome.done ? `reward ${String(outcome.reward)}` : 'the flow ended before the task did') };
  } finally {
    clearTimeout(timer);
    await context.close();
  }
}
