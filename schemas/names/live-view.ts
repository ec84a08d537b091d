/** What pictures and inputs of live views are sealed for. */
export const LIVE_VIEW_PURPOSE = 'browser-live-view';
