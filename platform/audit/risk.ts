import type { AuditRiskStore } from '../../database/audit-risk.ts';
import { RISK_INTEREST, RISK_RULES, type RiskRule } from './risk-rules.ts';
import type { AuditSignal, AuditSignals } from './signals.ts';

/** Runs the risk rules over entries as they are numbered and sends what they see as signals `dev.hal9.audit.risk`. */
export class RiskWatch {
  readonly #store: AuditRiskStore;
  readonly #signals: Pick<AuditSignals, 'send'>;
  readonly #rules: readonly RiskRule[];

  constructor(store: AuditRiskStore, signals: Pick<AuditSignals, 'send'>, rules: readonly RiskRule[] = RISK_RULES) {
    this.#store = store;
    this.#signals = signals;
    this.#rules = rules;
  }

  /**
   * Judges the next entries of an organisation. What a crash makes it judge again is sent under the same ids, and so is one signal.
   * @returns how many signals were sent, and whether more entries may wait.
   */
  async advance(orgId: string): Promise<{ sent: number; more: boolean }> {
    let sent = 0;
    const more = await this.#store.readAcrossOrganisations(orgId, RISK_INTEREST, async (batch, count) => {
      const signals = new Map<string, AuditSignal>();
      for (const entry of batch) {
        for (const rule of this.#rules) {
          const { name, summary } = rule;
          const risk = await rule.judge(entry, count);
          if (risk === undefined) continue;
          const id = `risk/${name}/${risk.key ?? String(entry.seq)}`;
          if (signals.has(id)) continue;
          const { seq, action, result, actor, impersonatorId, resource } = entry;
          signals.set(id, { type: 'dev.hal9.audit.risk', id, subject: `${actor.kind}/${actor.id}`, time: new Date(entry.at), data: { rule: name, summary, score: risk.score, acts: risk.acts, seq, action, result, actor, impersonatorId, resource } });
        }
      }
      await this.#signals.send(orgId, [...signals.values()]);
      sent = signals.size;
    });
    return { sent, more };
  }
}
