export { watchActs } from '../../database/audit-acts.ts';
