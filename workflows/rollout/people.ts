import { condition, defineUpdate, setHandler, type CancellationScope } from '@temporalio/workflow';
import { ROLLOUT_DECISION_UPDATE } from '../../schemas/names/rollouts.ts';
import type { ApprovalRule } from '../../schemas/neurons/definition.ts';
import type { RolloutDecision } from '../../schemas/operations/rollout.ts';
import { awaitApproval } from '../approval/await-approval.ts';
import type { Standing } from './standing.ts';
import { Stop } from './stop.ts';

/** What people are asked and say while a rollout goes on. */
export class People {
  /** Why it was aborted. */
  aborted: string | undefined;
  readonly #standing: Standing;
  readonly #connection: string | undefined;
  #decision: 'retry' | 'promote' | undefined;

  /** @param root cancelled by an abort: it interrupts whatever the run waits for, and a cancelled run is held by no pause. */
  constructor(standing: Standing, root: CancellationScope, connection: string | undefined) {
    this.#standing = standing;
    this.#connection = connection;
    setHandler(
      defineUpdate<{ accepted: boolean }, [RolloutDecision]>(ROLLOUT_DECISION_UPDATE),
      ({ action, reason }) => {
        if (action === 'abort') {
          this.aborted ??= reason === '' ? 'aborted' : `aborted: ${reason}`;
          root.cancel();
        } else this.#decision = action;
        return { accepted: true };
      },
      {
        validator: ({ action }) => {
          if (this.aborted !== undefined) throw new Error('the rollout is being rolled back');
          if (action !== 'abort' && standing.waitingFor === null) throw new Error('the rollout waits for nobody');
        },
      },
    );
  }

  /** Waits until somebody decides. */
  async decide(why: string): Promise<'retry' | 'promote'> {
    this.#decision = undefined;
    return this.#waiting(why, async () => {
      await condition(() => this.#decision !== undefined);
      return this.#decision ?? 'retry';
    });
  }

  /** @throws {Stop} unless enough people agree in time. */
  async approve(rule: ApprovalRule | undefined, what: string): Promise<void> {
    if (rule === undefined) return;
    const { state, reason } = await this.#waiting(`approval: ${what}`, () => awaitApproval({ summary: what, reason: 'A rollout waits at this gate.', approval: rule, connection: this.#connection }));
    if (state !== 'approved') throw new Stop('gate-refused', `${what}: ${reason}`);
  }

  async #waiting<Answer>(why: string, ask: () => Promise<Answer>): Promise<Answer> {
    this.#standing.waitingFor = why;
    try {
      return await ask();
    } finally {
      this.#standing.waitingFor = null;
    }
  }
}
