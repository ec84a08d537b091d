export declare function cacheFolder(env: Readonly<Record<string, string | undefined>>): string;
export declare function compileCache(env: Readonly<Record<string, string | undefined>>): { readonly NODE_COMPILE_CACHE: string };
