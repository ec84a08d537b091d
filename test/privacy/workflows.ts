export { accessExport } from '../../workflows/access-export/index.ts';
export { erasure } from '../../workflows/erasure/index.ts';
export { privacyChange } from '../../workflows/privacy-change/index.ts';
