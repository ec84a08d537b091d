import type { Page } from 'playwright-core';
import type { Logger } from 'pino';
import { Secret, TOTP } from 'otpauth';
import type { BrowserLiveViewStore } from '../../database/browser-live-views.ts';
import type { BrowserBaselineStore } from '../../database/browser-baselines.ts';
import type { BrowserSessionStore } from '../../database/browser-sessions.ts';
import { blobsUnder, isBlobRef, type BlobStore } from '../../platform/blobs/blob-store.ts';
import type { Connections } from '../../platform/connections/connections.ts';
import type { Egress } from '../../platform/connections/egress.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { HalError } from '../../schemas/errors.ts';
import { parseRunId } from '../../schemas/names/workflow-id.ts';
import type { Flow, LeafOf } from '../../schemas/browser/flow.ts';
import type { Turn } from '../../schemas/browser/turn.ts';
import type { BrowserSegmentOutcome, BrowserTurnResult } from './activity-contract.ts';
import { BrowserError, stepFailed } from './browser-error.ts';
import type { BrowserModel } from './browser-model.ts';
import type { Captcha } from './captcha.ts';
import { applyAnswer, pictureOf } from './captcha-attempt.ts';
import { decodeCheckpoint, restoreTabs } from './checkpoint.ts';
import { BrowserGone, type ChromiumPool, type PooledContext } from './chromium-pool.ts';
import type { Compared } from './compared.ts';
import { compareWithBaseline, type Shooting } from './comparing.ts';
import { ContextStock, DEVICE_SCALE, type StockedContext } from './context-stock.ts';
import type { EgressProxy } from './egress-proxy.ts';
import { explain } from './explanation.ts';
import { runFlow, type CaptchaAttempt, type FlowOutcome, type FlowRunOptions, type OpenFlow } from './flow-runner.ts';
import { lookAt } from './look.ts';
import { stepsOf } from './proposal.ts';
import type { FlowState, Proposal, WordedDue } from './flow-machine.ts';
import { LiveSession } from './live-session.ts';
import { LiveView } from './live-view.ts';
import { redacted } from './redaction.ts';
import { SessionJournal } from './session-journal.ts';
import type { Slot } from './slots.ts';
import { snapshotOf } from './snapshot.ts';

export interface SessionWorkerParts {
  readonly pool: ChromiumPool;
  readonly store: BrowserSessionStore;
  readonly baselines: BrowserBaselineStore;
  readonly blobs: BlobStore;
  readonly connections: Pick<Connections, 'open'>;
  readonly egress: Pick<Egress, 'address'>;
  readonly logger: Logger;
  /** Asked where steps are in words, and shown CAPTCHAs. */
  readonly model: Pick<BrowserModel, 'ask' | 'look'>;
  readonly keys: Pick<KeyRing, 'seal' | 'open'>;
  readonly views: BrowserLiveViewStore;
  /** Name of this worker. */
  readonly workerId: string;
}

/** Names a session: the run it belongs to. */
export interface SessionName {
  readonly orgId: string;
  readonly id: string;
  readonly runId: string;
}

/** A slot that was given out and not used is free again after this time, ms. */
const CLAIM_MS = 30_000;
/** A session that nobody works on is let go after this time, ms. */
const IDLE_MS = 30_000;
/** An interactive session whose caller takes its time is let go after this time, ms; the workflow does so earlier. */
const BETWEEN_TURNS_MS = 180_000;
/** Length of a stretch, ms: a pause or a cancellation between two steps takes no longer. */
const STRETCH_MS = 20_000;
/** A browser that waits for a person and that nobody looks at serves somebody else after this time, ms. */
const DESERTED_MS = 5 * 60_000;
/** What the effects of solving a CAPTCHA are named after the step that met it. */
const OF_CAPTCHA = '#captcha';

interface Held {
  readonly slot: Slot;
  readonly flow: Flow;
  readonly pooled: PooledContext;
  readonly proxy: EgressProxy;
  readonly session: LiveSession;
  readonly journal: SessionJournal;
  /** Of this take-up. */
  readonly fence: number;
  readonly secrets: Set<string>;
  /** Names of the credentials that were typed. */
  readonly credentials: Set<string>;
  readonly view: LiveView;
  state: FlowState | undefined;
  /** Number of the first step that a restart would take again. */
  needed: number;
  /** Of the step that is being taken. */
  key: string;
  workedMs: number;
  idle?: NodeJS.Timeout | undefined;
}

/** Some time of work on a session. */
interface Stretch {
  readonly name: SessionName;
  readonly flow: Flow;
  readonly input: unknown;
  readonly signal: AbortSignal;
  readonly onStep: (taken: number) => void;
  /** How long it is kept warm afterwards, ms. */
  readonly idleMs: number;
}

/** Sessions of one browser worker: takes them up, works on them a stretch at a time, lets them go. */
export class SessionWorker {
  readonly #parts: SessionWorkerParts;
  readonly #stock: ContextStock;
  readonly #claims = new Map<string, { readonly slot: Slot; readonly over: NodeJS.Timeout }>();
  readonly #held = new Map<string, Held>();
  /** Sessions that are to stop before their next step. */
  readonly #interrupted = new Set<string>();
  #closed = false;

  constructor(parts: SessionWorkerParts) {
    this.#parts = parts;
    this.#stock = new ContextStock(parts);
  }

  /** Keeps a slot for a session. Answers whether one became free within the time. */
  async claim({ orgId, id }: Pick<SessionName, 'orgId' | 'id'>, withinMs: number): Promise<boolean> {
    if (this.#held.has(id) || this.#claims.has(id)) return true;
    const slot = await this.#parts.pool.reserve(orgId, withinMs);
    if (slot === undefined) return false;
    const over = setTimeout(() => {
      this.#claims.delete(id);
      slot.release();
    }, CLAIM_MS).unref();
    this.#claims.set(id, { slot, over });
    return true;
  }

  /** @throws {BrowserError} for the session's own failures; {@link BrowserGone} and {@link SessionLost} when another must take it up. */
  async work(name: SessionName, flow: Flow, input: unknown, signal: AbortSignal, onStep: (taken: number) => void): Promise<BrowserSegmentOutcome> {
    return this.#stretch({ name, flow, input, signal, onStep, idleMs: IDLE_MS }, async (_held, run) => {
      const outcome = await run({});
      if (outcome.kind === 'answered') throw new HalError('Internal', 'a flow that is whole waits for no more steps');
      return outcome;
    });
  }

  /**
   * Takes a turn of an interactive session; one that was answered before is not taken again. Throws as {@link work} does.
   * @param flow whose steps are those a restart needs, and the turn's own.
   */
  async turn(name: SessionName, flow: Flow, open: OpenFlow, turn: Turn, signal: AbortSignal, onStep: (taken: number) => void): Promise<BrowserTurnResult> {
    const known = await this.#parts.store.answerOf(name.orgId, name.id, turn.id);
    if (known !== undefined) return { kind: 'answered', outcome: { failure: known.failure, answer: known.answer }, needed: known.needed, steps: this.#held.get(name.id)?.state?.taken ?? 0 };
    return this.#stretch({ name, flow, input: {}, signal, onStep, idleMs: BETWEEN_TURNS_MS }, async (held, run) => {
      const outcome = await run({ open });
      if (outcome.kind === 'done') throw new HalError('Internal', 'an interactive session has no end of its own');
      if (outcome.kind !== 'answered') return outcome;
      const seen = await lookAt(held.session, turn.look, outcome.value, await this.#redaction(name.orgId, held, flow));
      const { failure, answer } = await held.journal.answer({ turnId: turn.id, failure: outcome.failure, needed: held.needed }, seen);
      return { kind: 'answered', outcome: { failure, answer }, needed: held.needed };
    });
  }

  /** Works on a session for a while, within its limits, and keeps it warm for who comes next. */
  async #stretch<Outcome extends object>({ name, flow, input, signal, onStep, idleMs }: Stretch, work: (held: Held, run: (more: Pick<FlowRunOptions, 'open'>) => Promise<FlowOutcome>) => Promise<Outcome>): Promise<Outcome & { readonly steps: number }> {
    const held = await this.#take(name, flow);
    clearTimeout(held.idle);
    const began = Date.now();
    held.journal.work();
    const over = new AbortController();
    const limit = setTimeout(() => over.abort(new BrowserError('SessionLimit', `the session took longer than ${String(flow.limits.minutes)} minutes: limits.minutes may be raised`)), Math.max(1, flow.limits.minutes * 60_000 - held.workedMs));
    let taken = held.state?.taken ?? 0;
    const working = AbortSignal.any([signal, over.signal]);
    const run = (more: Pick<FlowRunOptions, 'open'>): Promise<FlowOutcome> =>
      runFlow({
        flow,
        input,
        session: held.session,
        journal: held.journal,
        ports: {
          signal: working,
          secret: (reference, url) => this.#secret(name.orgId, held, reference, url),
          keep: (bytes) => this.#blobsOf(name).put(name.orgId, bytes),
          compare: (step, page, shoot, timeoutMs) => this.#compare(name, held, step, page, { shoot, timeoutMs, signal: working }),
        },
        propose: (due, words) => this.#propose(name, held, flow, due, words, working),
        solve: (captcha, tries) => this.#solve(name, held, flow, { captcha, tries }, working),
        ...(held.state === undefined ? {} : { state: held.state }),
        ...more,
        yields: () => this.#interrupted.delete(name.id) || Date.now() - began > STRETCH_MS,
        onStep: (due, count) => {
          held.key = due.key;
          taken = count;
          onStep(count);
        },
        onState: (state) => {
          held.state = state;
        },
        onCheckpoint: (needed) => {
          held.needed = needed;
        },
      });
    try {
      const worked = work(held, run);
      worked.catch(() => undefined); // what is raced below is told
      const outcome = await Promise.race([worked, held.pooled.gone, aborted(signal), aborted(over.signal), held.session.ended]);
      await held.journal.close();
      held.workedMs += Date.now() - began;
      this.#keepWarm(name.id, held, idleMs);
      return { ...outcome, steps: taken };
    } catch (error) {
      // What failed is on record already, or cannot be any more.
      await held.journal.close().catch(() => undefined);
      await this.release(name.id);
      throw error;
    } finally {
      clearTimeout(limit);
    }
  }

  /**
   * Keeps a session for a person until the signal, or until nobody looked for a while, and checkpoints what they did. Throws as {@link work} does.
   * @param answered of an interactive session: the flow's steps were answered, and are there on the page before the person is.
   */
  async attend(name: SessionName, flow: Flow, signal: AbortSignal, answered?: OpenFlow): Promise<void> {
    if (answered !== undefined) await this.#catchUp(name, flow, answered, signal);
    const held = await this.#take(name, flow);
    clearTimeout(held.idle);
    held.view.attend(true);
    try {
      await Promise.race([held.view.deserted(DESERTED_MS, signal), held.pooled.gone, held.session.ended]);
      held.view.attend(false);
      // What a person asked the site for is no effect of a step.
      held.session.takeEffects();
      if (held.state !== undefined) await held.journal.checkpoint(held.state);
      held.needed = Math.max(held.needed, neededBy(held.state));
      await held.journal.close();
    } catch (error) {
      await held.journal.close().catch(() => undefined); // what failed is told
      await this.release(name.id);
      throw error;
    }
    this.#keepWarm(name.id, held, answered === undefined ? IDLE_MS : BETWEEN_TURNS_MS);
    signal.throwIfAborted();
  }

  /** Takes answered steps again that no checkpoint holds, e.g. what was typed: the page is then as it was when the session was let go. */
  async #catchUp(name: SessionName, flow: Flow, answered: OpenFlow, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { state } = await this.#take(name, flow);
      if ((state?.frames[0]?.index ?? answered.from) >= answered.since) return;
      const { kind } = await this.#stretch({ name, flow, input: {}, signal, onStep: () => undefined, idleMs: IDLE_MS }, (_held, run) => run({ open: answered }));
      // A CAPTCHA in the way is for the person who comes now.
      if (kind !== 'yielded') return;
    }
  }

  /** Ends the stretch of work on a session before its next step; where nobody works on it, the next one. */
  interrupt(id: string): void {
    this.#interrupted.add(id);
  }

  #keepWarm(id: string, held: Held, ms: number): void {
    held.idle = setTimeout(() => void this.release(id).catch((error: unknown) => this.#parts.logger.warn({ err: error }, 'idle browser session not let go')), ms).unref();
  }

  /** Lets a session go: its context is closed, its slot is free. */
  async release(id: string): Promise<void> {
    const claim = this.#claims.get(id);
    if (claim !== undefined) {
      clearTimeout(claim.over);
      this.#claims.delete(id);
      claim.slot.release();
    }
    this.#interrupted.delete(id);
    const held = this.#held.get(id);
    if (held === undefined) return;
    this.#held.delete(id);
    clearTimeout(held.idle);
    // A page that hangs lets its view go only when its context is closed.
    await Promise.all([held.view.stop(), held.pooled.release()]);
    await held.proxy.close();
    held.slot.release();
    if (!this.#closed) this.#stock.refill(held.flow);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#held.keys(), ...this.#claims.keys()].map((id) => this.release(id)));
    await this.#stock.close();
  }

  async #take(name: SessionName, flow: Flow): Promise<Held> {
    const known = this.#held.get(name.id);
    if (known !== undefined) return known;
    const { store, logger, workerId } = this.#parts;
    const blobs = this.#blobsOf(name);
    const claim = this.#claims.get(name.id);
    if (claim === undefined) throw new BrowserGone('the session has no slot here any more');
    const { slot } = claim;
    clearTimeout(claim.over);
    this.#claims.delete(name.id);
    const stored = await store.takeUp(name.orgId, { id: name.id, runId: name.runId, flow: flow.name ?? null, worker: workerId }).catch((error: unknown) => {
      slot.release();
      throw error;
    });
    let stocked: StockedContext | undefined;
    try {
      if (stored.state !== 'open') throw new HalError('Conflict', 'the session has ended');
      const checkpoint = isBlobRef(stored.checkpoint) ? decodeCheckpoint(await blobs.get(name.orgId, stored.checkpoint)) : undefined;
      const ending: { session?: LiveSession } = {};
      stocked = await this.#stock.take(flow, checkpoint?.storage);
      const { pooled, proxy, page } = stocked;
      proxy.serve({
        rules: { allow: flow.hosts.allow, deny: flow.hosts.deny, limitBytes: flow.limits.megabytes * 1024 * 1024 },
        onLimit: () => ending.session?.end(new BrowserError('SessionLimit', `pages received more than ${String(flow.limits.megabytes)} MB: limits.megabytes may be raised`)),
        onRefused: (host, reason) => logger.info({ sessionId: name.id, reason }, `a page was not let out to ${host.slice(0, 100)}`),
      });
      const credentials = new Set(checkpoint?.credentials);
      const secrets = await this.#secretsOf(name.orgId, credentials);
      const held: Partial<Pick<Held, 'journal' | 'key'>> = {};
      const session = await LiveSession.begin(page, flow, () => {
        if (held.key !== undefined) held.journal?.noteEffect(held.key);
      });
      ending.session = session;
      const journal = new SessionJournal({ store, blobs, hold: { orgId: name.orgId, id: name.id, fence: stored.fence }, session, begun: stored.begun, evidence: flow.evidence, credentials, redact: (text) => redacted(text, secrets) });
      if (checkpoint !== undefined) await restoreTabs(session, checkpoint);
      session.takeEffects();
      const view = LiveView.start({ store: this.#parts.views, keys: this.#parts.keys, logger }, name.orgId, name.id, session);
      const complete: Held = Object.assign(held, { slot, flow, view, pooled, proxy, session, journal, fence: stored.fence, secrets, credentials, state: checkpoint?.state, needed: neededBy(checkpoint?.state), key: '', workedMs: stored.workedMs });
      this.#held.set(name.id, complete);
      return complete;
    } catch (error) {
      await stocked?.pooled.release();
      await stocked?.proxy.close();
      slot.release();
      throw error;
    }
  }

  /** What a run about a person keeps is sealed with the person's key. */
  #blobsOf({ runId }: SessionName): BlobStore {
    return blobsUnder(this.#parts.blobs, parseRunId(runId)?.keyId);
  }

  /** What a model makes of words: asked once, and kept in the journal. */
  async #propose(name: SessionName, held: Held, flow: Flow, { step, key, before }: WordedDue, words: string, signal: AbortSignal): Promise<Proposal> {
    const { session } = held;
    const url = session.page().url();
    const answer = await held.journal.proposal(key, async () => {
      const redact = await this.#redaction(name.orgId, held, flow);
      const [title, snapshot] = await Promise.all([session.page().title(), snapshotOf(session.page(), redact)]);
      return this.#parts.model.ask(name.orgId, name.id, flow.neuron, { step, words: redact(words), url: redact(url), title: redact(title), snapshot, before }, signal);
    });
    return stepsOf(answer, { step, url, hosts: flow.hosts });
  }

  async #compare(name: SessionName, held: Held, step: LeafOf<'compare'>, page: Page, shooting: Shooting): Promise<Compared> {
    const { width, height } = page.viewportSize() ?? held.flow.viewport;
    const { orgId, id, runId } = name;
    // A flow without a name is refused before it begins.
    const parts = { store: this.#parts.baselines, blobs: this.#blobsOf(name), hold: { orgId, id, fence: held.fence }, flow: held.flow.name ?? '', viewport: `${String(width)}x${String(height)}@${String(DEVICE_SCALE)}`, runId, stepKey: held.key };
    return compareWithBaseline(parts, step, shooting);
  }

  /** Shows a CAPTCHA to the model that the flow names, and does what it says. What it is shown has no secret in it. */
  async #solve(name: SessionName, held: Held, flow: Flow, { captcha, tries }: { captcha: Captcha; tries: number }, signal: AbortSignal): Promise<CaptchaAttempt> {
    const { neuron } = flow.captcha;
    if (neuron === undefined || captcha.by === 'hand') return { kind: 'none', reason: 'a hand is needed for a CAPTCHA of this kind' };
    // What its page asks the site for is no effect of the step behind it.
    if (!held.key.endsWith(OF_CAPTCHA)) held.key += OF_CAPTCHA;
    const page = held.session.page();
    try {
      const picture = await pictureOf(page, captcha, await this.#hidden(name.orgId, held, flow));
      const answer = await this.#parts.model.look(name.orgId, name.id, neuron, { captcha, tries, picture }, signal);
      if (answer.text === undefined && answer.places === undefined) return { kind: 'none', reason: 'the model cannot solve it' };
      return (await applyAnswer(page, captcha, picture, answer, signal)) ? { kind: 'solved' } : { kind: 'wrong', reason: 'the CAPTCHA is still there' };
    } catch (error) {
      if (signal.aborted || !isOfPage(error)) throw error;
      const { type, message } = explain(error);
      return { kind: type === 'ModelUnavailable' ? 'none' : 'wrong', reason: message };
    }
  }

  /** Takes all secrets out of a text that were typed, or that the flow could type, whichever worker typed them. */
  async #redaction(orgId: string, held: Held, flow: Flow): Promise<(text: string) => string> {
    const secrets = await this.#hidden(orgId, held, flow);
    return (text) => redacted(text, secrets);
  }

  async #hidden(orgId: string, held: Held, flow: Flow): Promise<Set<string>> {
    const secrets = await this.#secretsOf(orgId, new Set([...credentialsOf(flow), ...held.credentials]));
    return new Set([...held.secrets, ...secrets]);
  }

  /** All that credentials hold, and the one-time codes that pages may still show. */
  async #secretsOf(orgId: string, credentials: ReadonlySet<string>): Promise<Set<string>> {
    const secrets = new Set<string>();
    for (const credential of credentials) {
      const connection = await this.#parts.connections.open(orgId, credential, ['website']).catch((error: unknown) => {
        // What is not there any more cannot be named any more.
        if (error instanceof HalError && error.type === 'NotFound') return undefined;
        throw error;
      });
      if (connection === undefined) continue;
      const { username, password, totpSeed } = connection.settings;
      for (const secret of [username, password, totpSeed, ...recentCodes(totpSeed)]) if (secret !== undefined) secrets.add(secret);
    }
    return secrets;
  }

  async #secret(orgId: string, held: Held, { credential, field }: NonNullable<LeafOf<'type'>['secret']>, url: string): Promise<string> {
    const { settings } = await this.#parts.connections.open(orgId, credential, ['website']);
    const origin = URL.parse(url)?.origin;
    if (origin === undefined || !settings.origins.includes(origin)) throw stepFailed(`the credential "${credential}" is not for this page: it names ${settings.origins.join(', ')}`);
    const value = field === 'totp' ? oneTimeCode(settings.totpSeed) : settings[field];
    if (value === undefined) throw stepFailed(`the credential "${credential}" has no ${field}`);
    held.secrets.add(value);
    held.credentials.add(credential);
    return value;
  }
}

/** Number of the first step of the flow that goes on from a state. */
function neededBy(state: FlowState | undefined): number {
  return state === undefined ? 0 : (state.frames[0]?.index ?? 0) - (state.frames.length > 1 ? 1 : 0);
}

/** RFC 6238. */
function oneTimeCode(seed: string | undefined): string | undefined {
  return seed === undefined ? undefined : new TOTP({ secret: Secret.fromBase32(seed.toUpperCase()) }).generate();
}

/** Codes that a page may still show, of the last ten minutes. */
function recentCodes(seed: string | undefined): string[] {
  if (seed === undefined) return [];
  const totp = new TOTP({ secret: Secret.fromBase32(seed.toUpperCase()) });
  return Array.from({ length: 21 }, (_, index) => totp.generate({ timestamp: Date.now() - index * 30_000 }));
}

/** Whether an attempt failed because of the page or the model, not because HAL9's own parts do. */
function isOfPage(error: unknown): boolean {
  return error instanceof BrowserError || (error instanceof Error && /^(TimeoutError|Error)$/.test(error.name) && /^(locator|page|mouse|frame|elementHandle|keyboard)\./.test(error.message));
}

/** Names of the credentials that steps of a flow type, or offer to a model. */
function credentialsOf(value: unknown): Set<string> {
  const names = new Set<string>();
  const visit = (part: unknown): void => {
    if (typeof part !== 'object' || part === null) return;
    for (const [field, inner] of Object.entries(part)) {
      if (field === 'credential' && typeof inner === 'string') names.add(inner);
      else if (field === 'credentials' && Array.isArray(inner)) for (const name of inner) names.add(String(name));
      else visit(inner);
    }
  };
  visit(value);
  return names;
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const end = (): void => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}
