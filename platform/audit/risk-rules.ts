import type { ActorHistory } from '../../database/audit-risk.ts';
import type { AuditEntry } from '../../schemas/audit/entry.ts';

/** What a rule sees in an entry. */
export interface Risk {
  /** 1 to 100. */
  readonly score: number;
  /** Acts that make up the risk, this one included. */
  readonly acts: number;
  /** Within the rule: the same key is one alarm, however many acts go on with it. Default: the entry itself. */
  readonly key?: string;
}

/** Judges each act as it is numbered. */
export interface RiskRule {
  readonly name: string;
  /** For people who read the signal. */
  readonly summary: string;
  judge(entry: AuditEntry, count: (history: ActorHistory) => Promise<number>): Risk | undefined | Promise<Risk | undefined>;
}

const MINUTE = 60_000;
/** Hours, UTC, in which nobody is expected to make keys: from 22 to 6. */
const isNight = (at: string): boolean => new Date(at).getUTCHours() >= 22 || new Date(at).getUTCHours() < 6;
/** Roles that rule an organisation. */
const RULING = new Set(['owner', 'admin']);
/** Risk of a single act, as its sign-in or session was scored, from which it is worth a signal. */
const RISKY = 60;

interface Burst {
  readonly name: string;
  readonly summary: string;
  readonly concerns: (entry: AuditEntry) => boolean;
  readonly result?: AuditEntry['result'];
  readonly actionLike?: string;
  /** Acts within the minutes from which it is one. */
  readonly acts: number;
  readonly minutes: number;
  readonly score: number;
}

/** Many acts of one actor in a short time: one alarm for each stretch of that length. */
function burst({ name, summary, concerns, result, actionLike, acts, minutes, score }: Burst): RiskRule {
  return {
    name,
    summary,
    async judge(entry, count) {
      if (!concerns(entry)) return undefined;
      const at = Date.parse(entry.at);
      const history = { actorId: entry.actor.id, upTo: entry.seq, since: new Date(at - minutes * MINUTE), most: acts, ...(result === undefined ? {} : { result }), ...(actionLike === undefined ? {} : { actionLike }) };
      const seen = await count(history);
      return seen < acts ? undefined : { score, acts: seen, key: `${entry.actor.id}/${String(Math.floor(at / (minutes * MINUTE)))}` };
    },
  };
}

/** A single act. */
function single(name: string, summary: string, score: number, concerns: (entry: AuditEntry) => boolean): RiskRule {
  return { name, summary, judge: (entry) => (concerns(entry) ? { score, acts: 1 } : undefined) };
}

const isSignInRefusal = ({ action }: AuditEntry): boolean => action === 'session.refuse' || action === 'sign-in.refuse';

/** What the rules below look at. A rule that looks at other acts adds them here. */
export const RISK_INTEREST = { minRisk: RISKY, actionsLike: ['%.export', '%.delete', '%.impersonate', 'role-binding.%', 'session.create', 'api-key.%', 'audit.%'] } as const;

/** The rules, in the order of docs/how-to/audit-log.md. */
export const RISK_RULES: readonly RiskRule[] = [
  burst({ name: 'refusals', summary: 'Many requests of one actor were refused', concerns: ({ actor, result }) => result === 'refused' && actor.kind !== 'nobody', result: 'refused', acts: 10, minutes: 10, score: 60 }),
  burst({ name: 'sign-in-refusals', summary: 'Many sign-ins were refused', concerns: isSignInRefusal, result: 'refused', acts: 20, minutes: 10, score: 70 }),
  burst({ name: 'export-burst', summary: 'One actor exported data many times', concerns: ({ action, result }) => action.endsWith('.export') && result === 'succeeded', result: 'succeeded', actionLike: '%.export', acts: 5, minutes: 60, score: 60 }),
  burst({ name: 'deletions', summary: 'One actor deleted many things', concerns: ({ action, result }) => action.endsWith('.delete') && result === 'succeeded', result: 'succeeded', actionLike: '%.delete', acts: 20, minutes: 10, score: 70 }),
  single('impersonation', 'Somebody acts as somebody else', 50, ({ action, result }) => action.endsWith('.impersonate') && result === 'succeeded'),
  single('ruling-role', 'Somebody was given a role that rules the organisation', 60, ({ action, result, details }) => result === 'succeeded' && (action === 'role-binding.create' || action === 'role-binding.change') && RULING.has(String(details['role']))),
  single('unusual-sign-in', 'A sign-in from a new network, at an unusual time or after failures', 60, ({ action, result, risk }) => action === 'session.create' && result === 'succeeded' && risk >= RISKY),
  single('risky-act', 'A change out of a session that looks unusual', 50, ({ action, risk }) => action !== 'session.create' && risk >= RISKY),
  single('key-at-night', 'An API key was made at night (22 to 6 UTC)', 40, ({ action, result, at }) => result === 'succeeded' && (action === 'api-key.create' || action === 'api-key.rotate') && isNight(at)),
  single('personal-erasure', 'Personal values of the audit log were erased', 40, ({ action }) => action === 'audit.erase-personal'),
];
