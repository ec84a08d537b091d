export { transaction } from '../../workflows/transaction/index.ts';
export { consensus } from '../../workflows/consensus/index.ts';
export { chainNetwork } from '../../workflows/chain-network/index.ts';
export { anchor } from '../../workflows/anchor/index.ts';
