export { noActHere, watchActs } from '../../database/audit-acts.ts';
