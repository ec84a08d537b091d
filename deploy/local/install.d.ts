export function installIfNeeded(root: string, options: { development: boolean }): boolean;
export function whyStale(root: string, options: { development: boolean }): string | undefined;
