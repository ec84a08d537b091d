export { accessExport } from '../../workflows/access-export/index.ts';
export { erasure } from '../../workflows/erasure/index.ts';
